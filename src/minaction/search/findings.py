"""The findings of a search: every number of its page as one JSON-able value, from the journals."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from minaction.report import formatting as write
from minaction.report.estimates import Estimate, mean, proportion
from minaction.report.frame import finite, run_row
from minaction.report.provenance import provenance, timing
from minaction.report.tables import SCHEMA, Findings
from minaction.report.tables import run_row as cells_of_run
from minaction.search.directory import Problem
from minaction.search.front import (
    Front,
    Member,
    chosen_of,
    confirmed_front,
    first_front,
    tried,
)
from minaction.search.objectives import OBJECTIVES
from minaction.search.search_file import SAMPLERS, Search
from minaction.study.design import MODEL_OPTIONS
from minaction.study.gauge_fields import finite_number
from minaction.study.journal import Record, RunStatus

VARIED = (
    *("model", "energy", "lam", "lr", "weight_decay", "clip_norm"),
    *("batch_size", "epochs", "parameters"),
)
"""What candidates may differ in, besides `MODEL_OPTIONS`."""

TESTED = ("test_accuracy", "val_accuracy", "energy_activation", "energy_gauge_fixed")
"""What is shown of the chosen network, over its seeds."""

COUNTED = ("macs_dense", "parameters")
"""What is shown of it beside that; the same with every seed."""


def compute_findings(
    search: Search,
    records: Sequence[Record],
    problems: Sequence[Problem],
    final: Callable[[str], Sequence[Record]],
) -> Findings:
    """Compute everything the page says.

    The same records give the same value, in the same order, whatever their order. What differs
    between two executions of a search is in `timing`, and latencies.

    Args:
        search: The search file.
        records: The latest record of each run of the search.
        problems: Architectures that were left out, and why.
        final: Gives those of the study that trained a chosen network, by the run that tried it.

    Returns:
        `schema`; `study`, what the search file says; `headlines` and `warnings`, sentences;
        `counts`, candidates by status, and the share of their training steps that was spared;
        `left_out`, reasons with their numbers; `front` (its `members`, `hypervolume`, `reference`
        and `unconfirmed`) and `chosen`, None where there is none yet; `runs`, `provenance` and
        `timing` as in the report of a study. Fractions are fractions.
    """
    front = confirmed_front(search, records)
    ordered = sorted(records, key=lambda one: (one.config["seed"], one.run_id))
    findings: Findings = {
        "schema": SCHEMA,
        "study": _summary(search),
        "headlines": [],
        "warnings": [],
        "counts": _counts(search, tried(records)),
        "left_out": [
            {"reason": reason, "architectures": count}
            for reason, count in Counter(one["reason"] for one in problems).most_common()
        ],
        "front": None if front is None else _front(search, front),
        "chosen": None if front is None else _chosen(search, chosen_of(search, front), final),
        "runs": [_run(search, record) for record in ordered],
        "provenance": provenance(ordered),
        "timing": timing(ordered),
    }
    findings["headlines"] = _headlines(search, findings)
    findings["warnings"] = _warnings(search, findings, len(first_front(search, records)))
    return json.loads(json.dumps(findings, allow_nan=False))


def label(search: Search, config: dict[str, Any]) -> str:
    """Return a candidate's name: its model and what else varies in the space."""
    levels = search.crossing.levels
    parts = [str(config["model"])]
    for key in (*VARIED, *MODEL_OPTIONS):
        level = config.get(key)  # None: an option that this model does not have
        if key != "model" and level is not None and len(levels.get(key, ())) > 1:
            if key == "lam":
                parts.append(f"\u03bb = {write.lam(level)}")
            else:
                parts.append(f"{key} = {level if isinstance(level, str) else format(level, 'g')}")
    return " \u00b7 ".join(parts)


def _summary(search: Search) -> dict[str, Any]:
    terms = search.search
    return {
        "name": search.name,
        "description": terms.description,
        "dataset": search.space.dataset[0],
        "objectives": list(terms.objectives),
        "sampler": SAMPLERS[terms.sampler],
        "rule": terms.rule,
        "margin": terms.margin,
        "sha256": search.sha256,
        "file": search.to_toml(),
    }


def _counts(search: Search, candidates: Sequence[Record]) -> dict[str, Any]:
    statuses = Counter(str(record.status) for record in candidates)
    return {
        "asked": search.search.evaluations,
        "tried": len(candidates),
        "statuses": {str(status): statuses[status] for status in RunStatus},
        "steps_spared": steps_spared(candidates),
    }


def steps_spared(candidates: Sequence[Record]) -> float:
    """Return the share of the training steps of candidates that giving some up has spared."""
    planned = {one.run_id: one.provenance["trial"]["steps"] for one in candidates if one.metrics}
    spared = (
        planned[one.run_id] - one.metrics["steps"]
        for one in candidates
        if one.metrics and one.status is RunStatus.STOPPED
    )
    return sum(spared) / max(1, sum(planned.values()))


def _front(search: Search, front: Front) -> dict[str, Any]:
    chosen = chosen_of(search, front)
    return {
        "seeds": search.search.confirm_seeds,
        "hypervolume": asdict(front.hypervolume),
        "reference": front.reference,
        "unconfirmed": [label(search, record.config) for record in front.unconfirmed],
        "members": [_member(search, member, member is chosen) for member in front.members],
    }


def _member(search: Search, member: Member, chosen: bool) -> dict[str, Any]:
    return {
        "label": label(search, member.tried.config),
        "run_id": member.tried.run_id,
        "values": dict(member.values),
        "val_accuracy": member.accuracy,
        "on_front": member.on_front,
        "membership": member.membership,
        "chosen": chosen,
    }


def _chosen(
    search: Search, member: Member, final: Callable[[str], Sequence[Record]]
) -> dict[str, Any]:
    records = final(member.tried.run_id)
    done = [record.metrics or {} for record in records if record.status is RunStatus.OK]
    return {
        "run_id": member.tried.run_id,
        "label": label(search, member.tried.config),
        "seeds": search.search.final_seeds,
        "ok": len(done),
        "measured": {name: _estimate(name, done) for name in TESTED},
        "counted": {name: done[0].get(name) if done else None for name in COUNTED},
    }


def _estimate(name: str, metrics: Sequence[dict[str, Any]]) -> Estimate:
    values = pd.Series([finite(one.get(name)) for one in metrics], dtype="float64").dropna()
    return proportion(values) if name.endswith("accuracy") else mean(values)


def _run(search: Search, record: Record) -> dict[str, Any]:
    """Return a row of the run table."""
    row = run_row(record.run_id, record.config, record)  # pyright: ignore[reportArgumentType]
    levels, metrics = search.crossing.levels, record.metrics or {}
    varied = [key for key in (*VARIED, *MODEL_OPTIONS) if len(levels.get(key, ())) > 1]
    kept = ["run_id", "status", *dict.fromkeys(["model", *varied, "lam"]), "seed"]
    # the budget of a network and what it has are both called parameters
    measured = {
        f"{MEASURED}{name}": finite_number(metrics.get(name)) for name in metrics_of(search)
    }
    return cells_of_run(
        {key: row.get(key) for key in kept}
        | measured
        | {"gauge_reason": row["gauge_reason"], "error": row["error"]}
    )


def metrics_of(search: Search) -> list[str]:
    """Return the metrics that are shown of a candidate: its accuracy, and its objectives."""
    names = ("accuracy", *search.search.objectives)
    return [OBJECTIVES[name].metric for name in dict.fromkeys(names)]


MEASURED = "measured_"
"""What the key of a run's metric begins with in a row of the run table."""


def _headlines(search: Search, findings: Findings) -> list[str]:
    counts, front, chosen = findings["counts"], findings["front"], findings["chosen"]
    ended = [
        f"{count:,} {status}"
        for status, count in counts["statuses"].items()
        if count and status != RunStatus.OK
    ]
    found = [
        f"{counts['tried']:,} of {counts['asked']:,} candidates tried on "
        f"{findings['study']['dataset']} by {findings['study']['sampler']}"
        f"{': ' + ', '.join(ended) if ended else ''}; early stopping spared "
        f"{write.fraction(counts['steps_spared'])} of the training."
    ]
    if front is None:
        return found
    ahead = sum(member["on_front"] for member in front["members"])
    area = front["hypervolume"]
    found.append(
        f"{ahead} of the {len(front['members'])} networks that no other dominated at first are on "
        f"the front of means over {front['seeds']} other seeds; hypervolume "
        f"{write.number(area['estimate'])} (95 % {write.number(area['low'])} to "
        f"{write.number(area['high'])}), costs in decades and accuracy in percentage points, from "
        f"{reference_text(front['reference'])}, the worst among all candidates."
    )
    accuracy = chosen["measured"]["test_accuracy"]
    tested = "not yet measured on the test split"
    if accuracy["n"]:
        tested = (
            f"test accuracy {write.accuracy(accuracy['estimate'])} "
            f"({write.bounds(accuracy, write.accuracy)}), n = {accuracy['n']} seeds"
        )
    found.append(f"Chosen by {search.search.rule}: {chosen['label']}; {tested}.")
    return found


def reference_text(reference: dict[str, float]) -> str:
    """Return the point a hypervolume is measured from, in words."""
    return ", ".join(
        f"{OBJECTIVES[name].title} {value_text(name, value)}" for name, value in reference.items()
    )


def value_text(name: str, value: float) -> str:
    """Return the value of an objective as text."""
    if not OBJECTIVES[name].is_cost:
        return write.accuracy(value)
    return write.count(value) if name in ("macs", "parameters") else write.number(value)


def _warnings(search: Search, findings: Findings, first: int) -> list[str]:
    counts, front, chosen = findings["counts"], findings["front"], findings["chosen"]
    found = []
    if failed := counts["statuses"][RunStatus.FAILED]:
        found.append(f"{failed:,} candidates failed: the front may lack some of them.")
    if front is None:
        if counts["tried"] and not first:
            found.append("No candidate ended well above the floor: there is no front.")
        elif first:
            found.append(f"The {first:,} networks of the front are not confirmed yet.")
        return found
    if front["unconfirmed"]:
        found.append(
            "Not on the front, because some other seed did not end well: "
            f"{'; '.join(front['unconfirmed'])}."
        )
    if len(front["members"]) < 2:
        found.append("The front is a single network: there was nothing to choose.")
    if chosen["ok"] < chosen["seeds"]:
        found.append(
            f"{chosen['ok']} of {chosen['seeds']} final runs of the chosen network are ok."
        )
    return found
