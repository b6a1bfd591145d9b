"""Measured costs on the page: which proxies tell them, and what a lower energy bought."""

from __future__ import annotations

from typing import Any

from minaction.report import formatting as write
from minaction.report.analysis.proxy_text import measured_on, r_squared, trusted_in
from minaction.report.analysis.proxy_verdict import Cost, ends, fall, percent, reach
from minaction.report.estimates import Estimate
from minaction.report.markup import cell, details, element, row_heading, table
from minaction.report.tables import Findings

AT = "analysis.proxies"


def proxy_section(findings: Findings) -> str:
    """Return the verdict on proxies and the tables behind it; nothing where none was measured."""
    fidelity = findings["analysis"].get("proxies")
    if fidelity is None:
        return ""
    if fidelity["reason"]:
        return element("p", f"{AT}.reason", f"Not computed: {fidelity['reason']}.", "note")
    said = "\n".join(
        element("li", f"{AT}.{part}.{index}", sentence)
        for part in ("verdict", "missing")
        for index, sentence in enumerate(fidelity[part])
    )
    tables = [cost_table(f"{AT}.costs.{i}", cost) for i, cost in enumerate(fidelity["costs"])]
    architectures = [
        architecture_table(f"{AT}.costs.{i}", cost) for i, cost in enumerate(fidelity["costs"])
    ]
    return "\n".join(
        [
            element("p", AT, f"{measured_on(fidelity)}. Rule: {fidelity['rule']}.", "note"),
            f"<ul>\n{said}\n</ul>",
            bought_table(fidelity["bought"]),
            *tables[:1],
            details("Other quantities, and after compaction", AT, "\n".join(tables[1:])),
            details("Each architecture", AT, "\n".join(architectures)),
        ]
    )


def cost_table(at: str, cost: Cost) -> str:
    """Return how well each proxy tells a quantity."""
    everything, alike = cost["scopes"][0], cost["scopes"][-1]
    last = len(cost["scopes"]) - 1
    rows = [
        [
            row_heading(f"{at}.scopes.0.proxies.{place}.name", row["name"]),
            rho(f"{at}.scopes.0.proxies.{place}.spearman", row["spearman"], everything["n"]),
            cell(f"{at}.scopes.0.proxies.{place}.r_squared", r_squared(row)),
            rho(
                f"{at}.scopes.{last}.proxies.{place}.spearman",
                alike["proxies"][place]["spearman"],
                alike["n"],
            ),
            cell(f"{at}.scopes", trusted_in(cost, place), kind="text"),
        ]
        for place, row in enumerate(everything["proxies"])
    ]
    note = (
        "Spearman's rank correlation of each proxy with what was measured, and the R\u00b2 of a "
        "power law (log on log); alike: of the deviations of both logarithms from their mean over "
        "networks of one data set, architecture and size. Second lines are 95 % bootstrap "
        "intervals: networks are resampled within architectures, those of one data set and size "
        "together but within a single architecture. Energies and nonzero activations are those of "
        "the network as it was trained, also after compaction."
    )
    columns = [
        "proxy",
        "\u03c1, all",
        "R\u00b2, all",
        "\u03c1, alike",
        "architectures it is trusted in",
    ]
    return table(titled(cost), columns, rows, path=at, note=note)


def architecture_table(at: str, cost: Cost) -> str:
    """Return Spearman's rho of each proxy within each architecture."""
    models = cost["scopes"][1:-1]
    rows = [
        [
            row_heading(f"{at}.scopes.0.proxies.{place}.name", row["name"]),
            *(
                rho(
                    f"{at}.scopes.{number}.proxies.{place}.spearman",
                    scope["proxies"][place]["spearman"],
                    scope["n"],
                )
                for number, scope in enumerate(models, start=1)
            ),
        ]
        for place, row in enumerate(cost["scopes"][0]["proxies"])
    ]
    columns = ["proxy", *(f"{scope['scope']} (n = {scope['n']})" for scope in models)]
    return table(f"\u03c1 within an architecture: {titled(cost)}", columns, rows, path=at)


def bought_table(bought: list[dict[str, Any]]) -> str:
    """Return what the largest lambda did to energy and measured costs; nothing without one."""
    if not bought:
        return ""
    at = f"{AT}.bought"
    rows = [
        [
            row_heading(f"{at}.{index}.scope", row["scope"]),
            cell(f"{at}.{index}.energy.n", write.count(row["energy"]["n"])),
            cell(f"{at}.{index}.energy", fall(row["energy"])),
            cell(f"{at}.{index}.energy_covered", fall(row["energy_covered"])),
            cell(f"{at}.{index}.energy_gauge_fixed", fall(row["energy_gauge_fixed"])),
            *(
                changed(f"{at}.{index}.quantities.{number}.{stage}", one[stage])
                for number, one in enumerate(row["quantities"])
                for stage in ("before", "after")
            ),
        ]
        for index, row in enumerate(bought)
    ]
    columns = [
        *("networks", "pairs", "trained energy falls", "activation energy", "gauge-fixed"),
        *(
            f"{one['name']}, {'compacted' if stage == 'after' else 'as trained'}"
            for one in bought[0]["quantities"]
            for stage in ("before", "after")
        ),
    ]
    note = (
        f"\u03bb = {write.lam(bought[0]['lam'])} against 0: geometric mean ratios over pairs of "
        "networks alike in all else, with 95 % t intervals of logarithms; compacted: both networks "
        "compacted. The activation energy is that of the networks that gauge fixing covers."
    )
    return table("What a lower energy bought", columns, rows, path=at, note=note)


def titled(cost: Cost) -> str:
    """Return what a table is about."""
    return f"{cost['name']}, {cost['stage']} compaction, n = {cost['scopes'][0]['n']}"


def rho(at: str, estimate: Estimate, n: int) -> str:
    """Return a cell with a correlation, of how many networks if not all, or why there is none."""
    if estimate["estimate"] is None:
        return cell(at, write.ABSENT, estimate["reason"] or "")
    fewer = f"; n = {write.count(estimate['n'])}" if estimate["n"] < n else ""
    return cell(at, write.signed(f"{estimate['estimate']:.2f}"), f"{ends(estimate)}{fewer}")


def changed(at: str, estimate: Estimate) -> str:
    """Return a cell with a change in percent, or with why there is none."""
    if estimate["estimate"] is None:
        return cell(at, write.ABSENT, estimate["reason"] or "")
    interval = "no interval" if estimate["low"] is None else reach(estimate)
    return cell(at, f"{percent(estimate['estimate'])} %", interval)
