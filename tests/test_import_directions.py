"""The arrows of the design: which room may import which, and who may import torch or the network.

`errors -> energy -> objective -> train; models, data -> train; train, measure -> study -> search;
journal -> stats -> report -> search; all -> cli`.
"""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import minaction

ROOT = Path(minaction.__file__).parent
MAY_IMPORT = {
    "errors": set(),
    "energy": {"errors"},
    "objective": {"errors", "energy"},
    "data": {"errors"},
    "models": {"errors", "data"},
    "measure": {"errors", "energy"},
    "compaction": {"errors", "energy", "data", "models", "measure"},
    "train": {"errors", "energy", "objective", "data", "models", "compaction"},
    "study": {"errors", "energy", "objective", "data", "models", "measure", "train", "compaction"},
    "stats": {"errors"},
    "report": {"errors", "data", "stats", "study"},
    "search": {"errors", "models", "stats", "study", "report"},
    "progress": {"errors", "study"},
    "integrations": {"errors", "energy", "objective", "study"},
}
ANYTHING = {"", "__main__", "cli", "commands"}  # the public API and the command line
NETWORK = {
    *("aiohttp", "boto3", "ftplib", "fsspec", "http", "httpx", "pooch", "requests", "smtplib"),
    *("socket", "ssl", "torchvision", "urllib", "urllib3", "websockets", "xmlrpc"),
}
TORCH_FREE = (
    *(
        "minaction",
        "minaction.cli",
        "minaction.commands.*",
        "minaction.errors",
        "minaction.progress",
    ),
    *("minaction.data.fetch", "minaction.data.sources"),
    *("minaction.energy.catalog", "minaction.models.catalog"),
    *("minaction.study.design", "minaction.study.export", "minaction.study.export_parquet"),
    *("minaction.study.journal", "minaction.study.merge", "minaction.study.plan"),
    *("minaction.study.read_study", "minaction.study.study_file"),
    *("minaction.report.*", "minaction.search.*", "minaction.stats.*"),
    *("minaction.integrations.mlflow", "minaction.integrations.tensorboard"),
    "minaction.integrations.tracking",
)


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(p for p in ("minaction", *parts) if p != "__init__")] = path
    return found


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            if node.module == "minaction":  # `from minaction import energy` imports a room
                yield from ((node.lineno, f"minaction.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module or ""


def top_level_names() -> set[str]:
    return {info.name for info in pkgutil.iter_modules([str(ROOT)])}


def test_every_room_has_its_arrows():
    assert top_level_names() - ANYTHING == set(MAY_IMPORT)


def test_the_arrows_have_no_cycle():
    remaining = dict(MAY_IMPORT)
    while remaining:
        free = [name for name, needs in remaining.items() if not needs & set(remaining)]
        assert free, f"a cycle among {sorted(remaining)}"
        for name in free:
            del remaining[name]


@pytest.mark.parametrize("module", modules())
def test_imports_follow_the_arrows(module):
    here = room(module)
    if here in ANYTHING:
        return
    for line, name in imports(modules()[module]):
        if name.split(".")[0] != "minaction":
            continue
        there = room(name)
        if there not in top_level_names():  # a value of the public API, such as __version__
            pytest.fail(f"{module}:{line} imports {name} through the package's front door")
        allowed = MAY_IMPORT[here] | {here}
        assert there in allowed, f"{module}:{line} imports {name}; {here} may import {allowed}"


@pytest.mark.parametrize("module", modules())
def test_the_network_is_reached_from_one_file_only(module):
    if module == "minaction.data.fetch":
        return
    for line, name in imports(modules()[module]):
        assert name.split(".")[0] not in NETWORK, f"{module}:{line} imports {name}"


def test_packages_hold_only_a_docstring():
    public = ROOT / "stats" / "__init__.py"  # a front door of its own, `ma.stats`
    for path in set(ROOT.glob("*/**/__init__.py")) - {public}:
        body = ast.parse(path.read_text(encoding="utf-8")).body
        assert len(body) == 1, path
        assert ast.get_docstring(ast.Module(body=body, type_ignores=[])), path


def test_what_a_finished_study_needs_imports_no_torch():
    names = [
        module
        for module in modules()
        for wanted in TORCH_FREE
        if module == wanted or (wanted.endswith(".*") and module.startswith(wanted[:-1]))
    ]
    assert len(names) > 15
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name + ' imports torch'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
