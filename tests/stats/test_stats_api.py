from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from minaction import stats


@pytest.mark.parametrize("name", stats.__all__)
def test_every_public_name_resolves_and_is_documented(name):
    value = getattr(stats, name)
    assert value.__name__ == name
    assert value.__module__.startswith("minaction.stats.")
    assert inspect.getdoc(value)


def test_names_are_sorted_and_unique():
    assert stats.__all__ == sorted(set(stats.__all__))


def test_they_are_at_hand_as_ma_stats_without_torch():
    code = (
        "import sys, minaction as ma\n"
        "assert ma.stats.hedges_g.__doc__\n"
        "assert 'stats' in dir(ma)\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
