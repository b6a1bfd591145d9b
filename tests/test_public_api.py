from __future__ import annotations

import importlib.metadata
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import minaction as ma
import public_api

ROOT = Path(__file__).parents[1]


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


def test_the_public_api_is_the_one_that_is_listed():
    pytest.importorskip("lightning", reason="needs Lightning")
    pytest.importorskip("transformers", reason="needs transformers")
    listed = public_api.LISTED.read_text(encoding="utf-8").splitlines()
    assert public_api.lines() == listed, "if it is meant: changelog, `python tests/public_api.py`"


def test_every_public_name_is_in_the_reference():
    names = {f"minaction.{name}" for name in {*ma.__all__} - {"stats", "MinActionError"}}
    names |= {f"minaction.stats.{name}" for name in ma.stats.__all__} | {"minaction.errors"}
    assert names <= set(public_api.documented())


def test_version_is_the_installed_one():
    assert ma.__version__ == importlib.metadata.version("minaction")


def test_version_project_and_changelog_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == ma.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[(\d[^\]]*)\] - \d{4}-\d\d-\d\d$", changelog, re.MULTILINE)
    version, _, in_development = ma.__version__.partition(".dev")
    if in_development:
        assert "## [Unreleased]\n" in changelog
        assert version not in released
    else:
        assert released[0] == version


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
