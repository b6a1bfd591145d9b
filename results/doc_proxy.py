"""What the measured studies say of proxies, as Markdown."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from minaction.report.analysis.proxies import Fidelity, proxy_fidelity
from minaction.report.analysis.proxy_text import measured_on, trusted_in
from minaction.report.analysis.proxy_verdict import ALIKE, change, correlation, fall
from minaction.study.journal import latest_records
from minaction.study.measurements import read_measurements

RESULTS = Path(__file__).parent
STUDIES = {
    "proxy": "Trained with an activation energy in the loss",
    "proxy_units": "Units priced by their MACs and taken out by proximal steps",
}
SHOWN = (
    *("energy_activation", "energy_gauge_fixed", "energy_l1", "energy_synaptic"),
    *("energy_potential", "nonzero_fraction", "macs_dense", "macs_effective"),
    *("operations_effective", "bytes_moved", "parameters"),
)
"""Proxies in the table; the report has all."""


@functools.cache
def fidelity_of(folder: str) -> Fidelity | None:
    """Return what was measured of a study's networks, None where nothing was."""
    directory = RESULTS / folder
    measurements = read_measurements(directory)
    return proxy_fidelity(latest_records(directory), measurements) if measurements else None


def proxy_section() -> str:
    """Return verdicts and tables of all studies, and what is not measured yet."""
    parts = [part for folder in STUDIES for part in study_part(folder)]
    return "\n".join([*parts, gpu_part()])


def study_part(folder: str) -> Iterator[str]:
    """Yield the paragraphs of one study."""
    yield f"### {STUDIES[folder]}\n"
    fidelity = fidelity_of(folder)
    if fidelity is None:
        yield (
            f"Not measured yet; `minaction study run recipes/{folder}.toml --out results/{folder}` "
            f"and `minaction measure results/{folder}` measure it.\n"
        )
        return
    yield (
        f"{measured_on(fidelity)} ([the report](../results/{folder}/report.html) has all proxies "
        f"and quantities). Rule: {fidelity['rule']}.\n"
    )
    yield "".join(f"- {one}\n" for one in [*fidelity["verdict"], *fidelity["missing"]])
    first = fidelity["costs"][0]["name"]
    yield cost_table([cost for cost in fidelity["costs"] if cost["name"] == first])
    yield bought_table(fidelity["bought"])


def cost_table(stages: Sequence[dict[str, Any]]) -> str:
    """Return how well proxies tell one quantity, before and after compaction."""
    head = "".join(
        f" rho, {stage['stage']} (n = {stage['scopes'][0]['n']}) | {ALIKE} | architectures |"
        for stage in stages
    )
    rows = "".join(
        f"| {row['name']} | {' | '.join(cell for one in stages for cell in cells(one, place))} |\n"
        for place, row in enumerate(stages[0]["scopes"][0]["proxies"])
        if row["proxy"] in SHOWN
    )
    return f"| {stages[0]['name']} |{head}\n|---|{'---|---|---|' * len(stages)}\n{rows}"


def cells(stage: dict[str, Any], place: int) -> tuple[str, str, str]:
    """Return rho across all networks and where only lambda and seed differ, and who trusts it."""
    everything, alike = (
        correlation(scope["proxies"][place]["spearman"], scope["n"])
        for scope in (stage["scopes"][0], stage["scopes"][-1])
    )
    return everything, alike, trusted_in(stage, place)


def bought_table(bought: Sequence[dict[str, Any]]) -> str:
    """Return what the largest lambda bought in each architecture."""
    if not bought:
        return ""
    names = [one["name"] for one in bought[0]["quantities"]]
    head = "".join(f" {name} | compacted |" for name in names)
    rows = "".join(
        f"| {row['scope']} | {row['energy']['n']} | {fall(row['energy'])} "
        f"| {fall(row['energy_covered'])} | {fall(row['energy_gauge_fixed'])} | "
        f"{' | '.join(change(one[at]) for one in row['quantities'] for at in ('before', 'after'))}"
        " |\n"
        for row in bought
    )
    return (
        "| what the largest lambda bought | pairs | trained energy falls | activation energy, "
        f"where gauge fixing covers | gauge-fixed |{head}\n"
        f"|---|---|---|---|---|{'---|---|' * len(names)}\n{rows}"
    )


def gpu_part() -> str:
    """Return what was measured on GPUs."""
    found = sorted(path.parent.name for path in (RESULTS / "proxy").glob("*/measurements.jsonl"))
    if not found:
        return (
            "### On a GPU\n\nUnmeasured: `python benchmarks/gpu_proxy.py`, made to take under 8 "
            "minutes, measures seconds and joules on a CUDA GPU.\n"
        )
    return "### On a GPU\n\n" + "\n".join(part for name in found for part in gpu_parts(name))


def gpu_parts(name: str) -> Iterator[str]:
    """Yield what was measured on one GPU."""
    folder = f"proxy/{name}"
    fidelity = fidelity_of(folder)
    if fidelity is None:
        return
    if fidelity["reason"]:
        yield f"{measured_on(fidelity)}; not computed: {fidelity['reason']}.\n"
        return
    trained = len(latest_records(RESULTS / folder))
    yield (
        f"{measured_on(fidelity)}; {trained} were trained "
        f"([the report](../results/{folder}/report.html)). Rule: {fidelity['rule']}.\n"
    )
    yield "".join(f"- {one}\n" for one in [*fidelity["verdict"], *fidelity["missing"]])
    for quantity in ("inference_seconds", "inference_joules"):
        yield cost_table([cost for cost in fidelity["costs"] if cost["quantity"] == quantity])
