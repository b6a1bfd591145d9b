"""Proxy fidelity as plain text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from minaction.report import formatting as write
from minaction.report.analysis.proxy_verdict import Cost, correlation, trusted

HEADER = ("", "rho, all [95 %]", "R^2, all", "rho, alike [95 %]", "trusted within", "")


def measured_on(fidelity: dict[str, Any]) -> str:
    """Return what was measured, where and how, in a line."""
    setting = fidelity["setting"]
    busy = fidelity["conditions"]["others_cpus"]
    meanwhile = "" if busy is None else f"; others used {busy:.1f} CPUs meanwhile"
    rounds = fidelity["rounds"]
    often = "one round" if rounds == 1 else f"medians of {rounds:g} rounds"
    return (
        f"{fidelity['networks']} networks on {setting['device']}: {setting['seconds']}, "
        f"{often}{meanwhile}"
    )


def cost_rows(cost: Cost) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each proxy of a quantity, headings first."""
    yield HEADER
    everything, alike = cost["scopes"][0], cost["scopes"][-1]
    for place, row in enumerate(everything["proxies"]):
        yield (
            row["name"],
            correlation(row["spearman"], everything["n"]),
            r_squared(row),
            correlation(alike["proxies"][place]["spearman"], alike["n"]),
            trusted_in(cost, place),
            row["spearman"]["reason"] or row["r_squared"]["reason"] or "",
        )


def r_squared(row: dict[str, Any]) -> str:
    """Write the explained variance of a proxy."""
    return write.optional(row["r_squared"]["estimate"], lambda value: f"{value:.2f}")


def trusted_in(cost: Cost, place: int) -> str:
    """Say in how many architectures the proxy at a place is to be trusted."""
    models = cost["scopes"][1:-1]
    return f"{sum(trusted(scope['proxies'][place]) for scope in models)} of {len(models)}"
