from __future__ import annotations

import importlib.metadata
import inspect
import subprocess
import sys

import pytest

import minaction as ma


@pytest.mark.parametrize("name", ma._HOME)
def test_every_public_name_resolves_and_is_documented(name):
    value = getattr(ma, name)
    assert value.__name__ == name
    assert value.__module__.startswith("minaction.")
    assert inspect.getdoc(value)
    assert value.__doc__
    assert name in dir(ma)


def test_names_are_sorted_unique_and_all_have_a_home():
    assert ma.__all__ == sorted(set(ma.__all__))
    assert {*ma._HOME, *ma._ROOMS} == set(ma.__all__)


def test_the_statistics_are_at_hand_without_an_import():
    code = (
        "import sys, minaction as ma\n"
        "assert ma.stats.factorial_anova.__doc__\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_star_import_brings_them_all():
    names = {}
    exec("from minaction import *", names)
    assert set(ma.__all__) <= set(names)


def test_unknown_name():
    with pytest.raises(AttributeError, match="module 'minaction' has no attribute 'Energie'"):
        ma.Energie  # noqa: B018


def test_version_is_the_installed_one():
    assert ma.__version__ == importlib.metadata.version("minaction")


def test_import_brings_no_torch():
    code = (
        "import sys, minaction\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
        "assert 'build_model' in dir(minaction)\n"
        "assert 'torch' not in sys.modules\n"
        "minaction.MinActionError\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
