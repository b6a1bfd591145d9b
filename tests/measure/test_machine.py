"""The description of the machine is JSON and takes no torch."""

from __future__ import annotations

import json
import subprocess
import sys

from minaction.measure.abilities import abilities
from minaction.measure.environment import cpu_count
from minaction.measure.machine import describe_machine


def test_the_description_is_json():
    facts = describe_machine()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["cpus"] == cpu_count()
    assert {a["name"] for a in facts["abilities"]} == {a.name for a in abilities()}


def test_it_imports_no_torch():
    code = (
        "import sys; from minaction.measure.machine import describe_machine; describe_machine();"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"
