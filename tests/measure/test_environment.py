"""The machine: versions, processor, compiler."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import minaction
from minaction.measure.abilities import abilities
from minaction.measure.environment import (
    code_version,
    cpu_count,
    cpu_name,
    cxx_compiler,
    versions,
)


def ability(name):
    (found,) = [a for a in abilities() if a.name == name]
    return found


def test_versions_are_those_that_run():
    found = versions()
    assert found["python"] == platform.python_version()
    assert found["torch"].startswith("2.")
    assert "not installed" not in found.values()


def test_code_version_is_a_hash_of_the_source_files(tmp_path):
    copy = tmp_path / "minaction"
    shutil.copytree(Path(minaction.__file__).parent, copy)
    code = "from minaction.measure.environment import code_version; print(code_version())"

    def of_the_copy():
        env = os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=env, cwd=tmp_path, check=True, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.strip()

    before = of_the_copy()
    assert len(before) == 16
    int(before, 16)
    (copy / "errors.py").write_text((copy / "errors.py").read_text() + "\n")
    assert of_the_copy() != before


def test_code_version_is_the_same_every_time():
    assert code_version() == code_version()


def test_the_processor_has_a_name_and_cpus():
    assert cpu_name().strip()
    assert 1 <= cpu_count() <= os.cpu_count()
    assert cpu_count() == len(os.sched_getaffinity(0))


def test_a_compiler_is_found_where_torch_looks_for_it(tmp_path, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cxx_compiler() is None
    assert not ability("torch.compile").available
    assert "install g++" in ability("torch.compile").detail
    for name in ("g++", "my-cxx"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert cxx_compiler() == str(tmp_path / "g++")
    monkeypatch.setenv("CXX", "my-cxx")
    assert cxx_compiler() == str(tmp_path / "my-cxx")
    assert ability("torch.compile").detail == str(tmp_path / "my-cxx")


def test_a_compiler_that_is_named_but_missing_is_none(tmp_path, monkeypatch):
    (tmp_path / "g++").write_text("#!/bin/sh\n")
    (tmp_path / "g++").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert cxx_compiler() is None  # torch would use no other either
