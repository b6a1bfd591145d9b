"""What is distributed: complete, typed, and valid. `make package` also installs and runs it."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
DATA = {".css", ".html", ".js", ".toml", ".typed"}


def package_files() -> set[str]:
    """Every file of the package that has to be installed."""
    folder = ROOT / "src" / "minaction"
    listings = {*(folder / "data" / "listings").iterdir()}
    files = {p for p in folder.rglob("*") if p.suffix in DATA | {".py"}} | listings
    return {path.relative_to(ROOT / "src").as_posix() for path in files if path.is_file()}


@pytest.fixture(scope="module")
def distributions(tmp_path_factory) -> dict[str, Path]:
    pytest.importorskip("build", reason="needs build")
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.suffix: path for path in out.iterdir()}


def test_the_wheel_has_every_file_of_the_package(distributions):
    with zipfile.ZipFile(distributions[".whl"]) as wheel:
        names = set(wheel.namelist())
    assert "minaction/py.typed" in names
    assert package_files() <= names
    assert {name.split("/")[0] for name in names if "dist-info" not in name} == {"minaction"}


def test_the_source_distribution_builds_the_same_wheel(distributions):
    with tarfile.open(distributions[".gz"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"src/{name}" for name in package_files()} <= names
    assert {"pyproject.toml", "README.md", "LICENSE"} <= names


def test_the_index_would_take_them(distributions):
    pytest.importorskip("twine", reason="needs twine")
    command = [sys.executable, "-m", "twine", "check", "--strict", *distributions.values()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
