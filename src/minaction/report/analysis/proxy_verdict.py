"""What measured costs say of proxies, in sentences: which to trust, what a lower energy bought."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from minaction.report import formatting as write
from minaction.report.analysis.proxy_frame import name_of
from minaction.report.estimates import Estimate

ALL, ALIKE = "all networks", "same data set, architecture and size"
"""Scopes beside the architectures: everything, and what differs in lambda and seed alone."""

TRUSTED = 0.8
RULE = (
    f"a proxy is to be trusted where the whole 95 % interval of Spearman's rho lies above {TRUSTED}"
)
ENERGIES = ("energy_activation", "energy_gauge_fixed")
"""Those that a sentence names whatever they say."""
SHOWN = 3
"""Trusted proxies that a sentence names."""

Cost = dict[str, Any]
"""A quantity in one stage: `name`, `stage` and `scopes`, all networks first, those alike last."""


def verdict(costs: Sequence[Cost], bought: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the verdict: for each quantity what tells it, then what a lower energy bought.

    Args:
        costs: Each quantity before and after compaction.
        bought: From `bought_by`, all networks first.
    """
    for name in dict.fromkeys(cost["name"] for cost in costs):
        stages = [cost for cost in costs if cost["name"] == name]
        begun = f"{name[0].upper()}{name[1:]}"
        yield f"{begun}, across all networks: {joined(stages, across, of=0)}."
        yield f"{begun}, within an architecture: {joined(stages, within, of=0)}."
        yield f"{begun}, where only lambda and seed differ: {joined(stages, alone, of=-1)}."
    yield from outcome(bought[0]) if bought else ()


def joined(
    stages: Sequence[Cost], said: Callable[[Sequence[dict[str, Any]]], str], *, of: int
) -> str:
    """Join what is said of each stage, with the number of networks in one of its scopes."""
    return "; ".join(
        f"{cost['stage']} compaction (n = {cost['scopes'][of]['n']}) {said(cost['scopes'])}"
        for cost in stages
    )


def trusted(row: dict[str, Any]) -> bool:
    """Return whether a proxy is to be trusted, by the rule."""
    low = row["spearman"]["low"]
    return low is not None and low > TRUSTED


def decided(scope: dict[str, Any]) -> bool:
    """Return whether there is an interval of any proxy in a scope."""
    return any(row["spearman"]["low"] is not None for row in scope["proxies"])


def across(scopes: Sequence[dict[str, Any]]) -> str:
    """Say which proxies are to be trusted across all networks, and how the energies do."""
    known = [row for row in scopes[0]["proxies"] if row["spearman"]["estimate"] is not None]
    ranked = sorted(known, key=lambda row: -row["spearman"]["estimate"])
    good, n = [row for row in ranked if trusted(row)], scopes[0]["n"]
    if ranked and not decided(scopes[0]):
        best = listed(ranked[:1], n)
        return f"undecided, there are too few cases for an interval; highest {best}"
    said = f"to be trusted {listed(good[:SHOWN], n)}" if good else "no proxy is to be trusted"
    if not good and ranked:
        said += f", at best {listed(ranked[:1], n)}"
    energies = [row for row in known if row["proxy"] in ENERGIES and not trusted(row)]
    return f"{said}, not {listed(energies, n)}" if energies else said


def within(scopes: Sequence[dict[str, Any]]) -> str:
    """Say in how many architectures the best proxies and the energies are to be trusted."""
    models = [scope for scope in scopes[1:-1] if decided(scope)]
    if not models:
        return "undecided, no architecture has enough networks for an interval"
    count = {
        row["proxy"]: sum(trusted(scope["proxies"][place]) for scope in models)
        for place, row in enumerate(scopes[0]["proxies"])
    }
    best = sorted((name for name in count if count[name]), key=lambda name: -count[name])[:SHOWN]
    named = dict.fromkeys([*best, *(name for name in ENERGIES if name in count)])
    parts = ", ".join(f"{name_of(name)} in {count[name]}" for name in named)
    return f"of {len(models)} architectures, to be trusted {parts}"


def alone(scopes: Sequence[dict[str, Any]]) -> str:
    """Say how the energies and the effective MACs do where nothing else differs."""
    shown = (*ENERGIES, "macs_effective")
    return listed([row for row in scopes[-1]["proxies"] if row["proxy"] in shown], scopes[-1]["n"])


def outcome(row: dict[str, Any]) -> Iterator[str]:
    """Yield what the largest lambda bought."""
    yield (
        f"From \u03bb = 0 to {write.lam(row['lam'])} the energy fell {fall(row['energy'])} in "
        f"{row['energy']['n']} pairs of networks alike in all else; the activation energy of the "
        f"{row['energy_gauge_fixed']['n']} that gauge fixing covers fell "
        f"{fall(row['energy_covered'])} raw and {fall(row['energy_gauge_fixed'])} gauge-fixed."
    )
    changes = (
        f"{one['name']} by {change(one['before'])}, compacted {change(one['after'])}"
        for one in row["quantities"]
    )
    yield f"That changed {'; '.join(changes)}."


def listed(rows: Sequence[dict[str, Any]], n: int) -> str:
    """Write proxies with Spearman's rho and its interval, or why there is none."""
    return ", ".join(
        f"{row['name']} {correlation(row['spearman'], n)}"
        + (f" ({row['spearman']['reason']})" if row["spearman"]["reason"] else "")
        for row in rows
    )


def correlation(estimate: Estimate, n: int) -> str:
    """Write a correlation with its interval: 0.91 [0.87, 0.94].

    Args:
        estimate: The correlation.
        n: Networks it is among; where it is known of fewer, their number is added.
    """
    if estimate["estimate"] is None:
        return write.ABSENT
    text = write.signed(f"{estimate['estimate']:.2f}")
    fewer = f" (n = {estimate['n']})" * (estimate["n"] < n)
    return f"{text} [{ends(estimate)}]{fewer}"


def ends(estimate: Estimate) -> str:
    """Write the ends of a correlation's interval."""
    if estimate["low"] is None:
        return "no interval"
    return ", ".join(write.signed(f"{estimate[end]:.2f}") for end in ("low", "high"))


def change(estimate: Estimate) -> str:
    """Write a ratio as a change in percent: −12.3 % (−15.0 to −9.5 %)."""
    if estimate["estimate"] is None:
        return f"{write.ABSENT} ({estimate['reason']})"
    text = f"{percent(estimate['estimate'])} %"
    return text if estimate["low"] is None else f"{text} ({reach(estimate)})"


def reach(estimate: Estimate) -> str:
    """Write the ends of a ratio's interval as changes in percent."""
    return f"{percent(estimate['low'])} to {percent(estimate['high'])} %"


def percent(ratio: float) -> str:
    """Write a ratio as a signed change in percent, without the sign of percent."""
    text = f"{100 * (ratio - 1):+.1f}"
    return write.signed("0.0" if float(text) == 0 else text)


def fall(estimate: Estimate) -> str:
    """Write a ratio as a fold reduction."""
    if estimate["estimate"] is None:
        return f"{write.ABSENT} ({estimate['reason']})"
    return write.fold(1 / estimate["estimate"])
