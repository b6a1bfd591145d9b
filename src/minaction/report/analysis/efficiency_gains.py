"""Finding 3: energy-first architectures gain in training efficiency within a modality."""

from __future__ import annotations

from typing import Any

from minaction.report.analysis.verdict import Finding, Verdict, Word, overall
from minaction.report.efficiency import CONVENTIONAL, UNIT_NAMES, UNITS
from minaction.study.study_file import Study

ENERGY_FIRST = ("dual-pathway", "lagrangian")
LEAST, MOST = 0.05, 0.33

FINDING = Finding(
    number=3,
    claim="energy-first architectures gain 5-33 % in training efficiency within a modality",
    published="5-33 %",
    rule=(
        "the gain is 1 - cost to reach 95 % of the best conventional model's accuracy / the best "
        "conventional model's cost, in steps, MACs and seconds of training. By unit: supported "
        f"where the 95 % intervals of all energy-first models ({', '.join(ENERGY_FIRST)}) in all "
        f"modalities are above {100 * LEAST:.0f} %, contradicted where those of all of them are "
        "below it in one modality, else not decided. Supported or contradicted where all recorded "
        "units say so, else not decided"
    ),
)


def efficiency_verdict(study: Study, found: dict[str, Any]) -> Verdict:
    """Return what a study says of finding 3.

    Args:
        study: The study file.
        found: From `training_efficiency`.
    """
    models = set(study.factors.model)
    if not (models & set(ENERGY_FIRST) and models & set(CONVENTIONAL)):
        missing = (
            f"it has no energy-first model ({', '.join(ENERGY_FIRST)}) beside a conventional one"
        )
        return Verdict(finding=FINDING, word=Word.NOT_TESTED, because=[missing])
    if 0.0 not in study.factors.lam:
        return Verdict(finding=FINDING, word=Word.NOT_TESTED, because=[found["reason"]])
    gains = [
        row | {"verdict": str(judged(row))}
        for row in found["gains"]
        if row["model"] in ENERGY_FIRST and row["dataset"] is None and row["against"] == "best"
    ]
    if not gains:
        because = [f"no gains: {found['reason'] or 'the histories have no costs to compare'}"]
        return Verdict(finding=FINDING, word=Word.NOT_DECIDED, because=because)
    of_unit = {unit: [row for row in gains if row["unit"] == unit] for unit in UNITS}
    by_unit = {unit: overall(by_modality(rows)) for unit, rows in of_unit.items() if rows}
    words = set(by_unit.values())
    said = "; ".join(
        f"{word} in {UNIT_NAMES[unit]}: {tally(of_unit[unit])}" for unit, word in by_unit.items()
    )
    return Verdict(
        finding=FINDING,
        word=words.pop() if len(words) == 1 else Word.NOT_DECIDED,
        because=[said, *map(sentence, gains)],
        numbers={"by_unit": {unit: str(word) for unit, word in by_unit.items()}, "gains": gains},
    )


def by_modality(gains: list[dict[str, Any]]) -> list[list[Word]]:
    """Return the verdicts on the gains, a list per modality."""
    modalities = dict.fromkeys(row["modality"] for row in gains)
    return [
        [Word(row["verdict"]) for row in gains if row["modality"] == modality]
        for modality in modalities
    ]


def judged(row: dict[str, Any]) -> Word:
    """Return the verdict on the gain of one model in one modality and unit."""
    if row["low"] is None:
        return Word.NOT_DECIDED
    if row["low"] > LEAST:
        return Word.SUPPORTED
    return Word.CONTRADICTED if row["high"] < LEAST else Word.NOT_DECIDED


def tally(gains: list[dict[str, Any]]) -> str:
    """Say for how many of the gains the finding holds, and for how many it does not."""
    words = [row["verdict"] for row in gains]
    return (
        f"{words.count(Word.SUPPORTED)} of {len(words)} pairs of architecture and modality gain, "
        f"{words.count(Word.CONTRADICTED)} do not"
    )


def sentence(row: dict[str, Any]) -> str:
    """Say what one model gains in one modality and unit."""
    reach = (
        "no interval"
        if row["low"] is None
        else f"95 % interval {100 * row['low']:.0f} to {100 * row['high']:.0f}"
    )
    where = f"{row['modality']} \u00b7 {row['model']} \u00b7 {UNIT_NAMES[row['unit']]}"
    gain = f"{100 * row['gain']:.0f} % ({reach}, n = {row['n']})"
    return f"{where}: {gain} on {', '.join(row['reference'])}: {row['verdict']}"
