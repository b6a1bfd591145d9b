"""What this machine is and what runs on it. Imports no torch."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import shutil
import sys
from pathlib import Path

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn")


def versions() -> dict[str, str]:
    """Return the versions that decide a run's numbers."""
    found = {name: _version(name) for name in PACKAGES}
    return {"minaction": _version("minaction"), "python": platform.python_version(), **found}


@functools.cache
def code_version() -> str:
    """Return 16 hex digits of a hash over this package's source files."""
    digest = hashlib.sha256()
    package = Path(__file__).parent.parent
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def cpu_name() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cpu_count() -> int:
    """Return the number of CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cxx_compiler() -> str | None:
    """Return the C++ compiler `torch.compile` uses on a CPU, or None if it is not there."""
    return shutil.which(os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++"))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
