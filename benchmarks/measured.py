"""What every benchmark writes beside its figures, and how."""

from __future__ import annotations

import json
import statistics

from minaction.measure.environment import cpu_count, cpu_name, versions


def machine():
    """The machine and the versions that figures hold for."""
    return {"cpu": cpu_name(), "cpus": cpu_count(), "versions": versions()}


def spread(values):
    """The median of a few rounds, and their extremes."""
    return {
        "median": round(statistics.median(values), 4),
        "smallest": round(min(values), 4),
        "largest": round(max(values), 4),
        "n": len(values),
    }


def write_json(path, content):
    """Write a benchmark's result; its folder is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
