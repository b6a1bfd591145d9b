"""Everything about this machine, for who asks what it is and what it can measure."""

from __future__ import annotations

import platform
from typing import Any

from minaction.measure.abilities import abilities
from minaction.measure.environment import code_version, cpu_count, cpu_name, versions


def describe_machine() -> dict[str, Any]:
    """Return everything about this machine as JSON-able values."""
    return {
        "versions": versions(),
        "code_version": code_version(),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cpus": cpu_count(),
        "abilities": [vars(ability) for ability in abilities()],
    }
