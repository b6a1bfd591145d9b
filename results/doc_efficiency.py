"""What docs/findings.md shows of training efficiency, as Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from minaction.report.efficiency import UNIT_NAMES, UNITS

FOUND = Path(__file__).parent / "efficiency" / "efficiency.json"

Gains = dict[str, dict[str, Any]]
"""Gains by unit."""


def efficiency_section() -> str:
    """Return what energy-first architectures gain in each modality, in a table."""
    found = json.loads(FOUND.read_text(encoding="utf-8"))
    rows: dict[tuple[str, str, str], Gains] = {}
    for gain in found["gains"]:
        if gain["dataset"] is None:
            key = (gain["modality"], gain["model"], gain["against"])
            rows.setdefault(key, {})[gain["unit"]] = gain
    head = "".join(f" {UNIT_NAMES[unit]} |" for unit in UNITS)
    text = (
        f"{found['recorded']:,} runs on {len(found['targets'])} data sets. What is spent until "
        f"{100 * found['share']:g} % of the accuracy of the best conventional network of equal "
        f"parameters, every network at the setting that was best on {found['tuning_seeds']} seeds; "
        "the gain, in percent, of the other seeds, with 95 % intervals. *Best* is the conventional "
        "network that sets the target, *cheapest* the one that reaches it at the lowest cost in "
        "that unit.\n\n"
        f"| modality | network | against |{head}\n|---|---|---|{'---|' * len(UNITS)}\n"
    )
    for (modality, model, against), gains in rows.items():
        cells = " | ".join(gain_text(gains[unit]) for unit in UNITS)
        text += f"| {modality} | {model} | {against} | {cells} |\n"
    return text


def gain_text(gain: dict[str, Any]) -> str:
    """Return a gain, its interval, and what it is a gain on."""
    interval = f"[{100 * gain['low']:.0f}, {100 * gain['high']:.0f}]"
    return f"{100 * gain['gain']:.0f} {interval} on {', '.join(gain['reference'])}"
