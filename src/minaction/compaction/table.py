"""What a compaction did, as a table to read. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SHOWN = 12
"""Layers and reasons that are listed before the rest is only counted."""


def compaction_table(values: Mapping[str, Any]) -> str:
    """Return a compaction's values as text: units by layer, costs, differences, what stayed.

    Args:
        values: As `Compaction.to_dict()` gives them; `accuracy` and `latency` are shown if there.
    """
    lines = [f"{'':<34}{'before':>14}{'after':>14}{'':>4}"]
    for layer, (before, after) in list(values["units"].items())[:SHOWN]:
        lines.append(_row(f"units of {layer}", before, after))
    lines += _rest(len(values["units"]), "layers")
    lines.append(_row("MACs per sample", values["macs_before"], values["macs_after"]))
    lines.append(_row("parameters", values["parameters_before"], values["parameters_after"]))
    lines.append(_row("bytes of weights", values["bytes_before"], values["bytes_after"]))
    lines += [_accuracy_row(*entry) for entry in values.get("accuracy", {}).items()]
    lines += [_latency_row(entry) for entry in values.get("latency", ())]
    lines += ["", *_removed_lines(values), *_difference_lines(values)]
    lines += _kept_lines(values["kept"])
    lines += _reason_lines("not covered", values["not_covered"])
    if values["macs_not_counted"]:
        lines.append(f"MACs not counted: those of {', '.join(values['macs_not_counted'])}")
    return "\n".join(lines)


def _row(name: str, before: float, after: float) -> str:
    change = f"  {before / after:.2f}x" if after and before != after else ""
    return f"{_short(name):<34}{before:>14,.0f}{after:>14,.0f}{change}"


def _accuracy_row(split: str, entry: Mapping[str, float]) -> str:
    before, after = 100 * entry["before"], 100 * entry["after"]
    return f"{f'{split} accuracy, %':<34}{before:>14.2f}{after:>14.2f}  {after - before:+.2f} pp"


def _latency_row(entry: Mapping[str, Any]) -> str:
    name = f"{entry['runtime']}, batch {entry['batch']}, ms"
    return (
        f"{name:<34}{1e3 * entry['before_seconds']:>14.3f}{1e3 * entry['after_seconds']:>14.3f}"
        f"  {entry['speedup']:.2f}x [{entry['speedup_low']:.2f}, {entry['speedup_high']:.2f}]"
    )


def _removed_lines(values: Mapping[str, Any]) -> list[str]:
    counts: dict[str, int] = {}
    for unit in values["removed"]:
        counts[unit["kind"]] = counts.get(unit["kind"], 0) + 1
    near, least = counts.pop("near-silent", 0), counts.pop("least", 0)
    lines = [f"removed exactly: {_listed(counts)}"]
    if near:
        lines.append(f"removed approximately: {near} near-silent")
    if least:
        lines.append(f"removed to save MACs: {least} that the outputs depend on least for them")
    return lines


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "none"


def _difference_lines(values: Mapping[str, Any]) -> list[str]:
    lines = [f"largest output difference: {values['max_output_difference']:.2g} on calibration"]
    held_out = values["max_output_difference_held_out"]
    if held_out is not None:
        lines[0] += f", {held_out:.2g} on held-out data"
    lines[0] += " (relative to the largest output)"
    return lines


def _kept_lines(kept: Sequence[Mapping[str, Any]]) -> list[str]:
    units: dict[str, list[str]] = {}
    for unit in kept:
        units.setdefault(unit["reason"], []).append(f"{unit['layer']}[{unit['unit']}]")
    return _reason_lines(
        "constant, but kept", {", ".join(names[:SHOWN]): reason for reason, names in units.items()}
    )


def _reason_lines(title: str, reasons: Mapping[str, str]) -> list[str]:
    lines = [f"{title}: {name}: {reason}" for name, reason in list(reasons.items())[:SHOWN]]
    return lines + _rest(len(reasons), "layers")


def _rest(count: int, what: str) -> list[str]:
    return [f"... and {count - SHOWN} more {what}"] if count > SHOWN else []


def _short(name: str) -> str:
    return name if len(name) <= 33 else f"...{name[-30:]}"
