"""Every code block of every page runs, in the page's order, as its reader would run it.

A comment on the line before a block says what its reader does with it other than running it:

    <!-- file: study.toml -->                saves it under this name
    <!-- into: src/room/file.py -->          adds it at the end of that file of the repository
    <!-- into: src/room/file.py after x -->  adds it below the last line of the file that has an x
    <!-- slow -->                            runs it, and waits long: so does `make test-slow` alone
    <!-- not run: why -->                    runs it where tests cannot

Pages with blocks that go into the repository run in a copy of it, all others in an empty folder.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from typer.main import get_command

import minaction as ma
from minaction.cli import app
from minaction.study.read_study import load_study, parse_study

ROOT = Path(__file__).parents[1]
PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
]
RUN_ELSEWHERE = ("docs/integrations.md",)  # by tests/integrations/test_integration_docs.py
FENCE = re.compile(r"(?:^<!-- ([^\n]+?) -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INTO = re.compile(r"into: (\S+)(?: after (.+))?")
MARK = re.compile(rf"(?:file: \S+|{INTO.pattern}|slow|not run: .+)?")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block, and the comment before it."""

    page: str
    mark: str
    language: str
    text: str


def blocks_of(page: str) -> list[Block]:
    found = FENCE.findall((ROOT / page).read_text(encoding="utf-8"))
    return [Block(page=page, mark=m, language=lang, text=text) for m, lang, text in found]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def is_run(block: Block) -> bool:
    if block.page in RUN_ELSEWHERE or (block.page == "README.md" and block.language == "sh"):
        return False  # the README's commands take hours, or set everything up
    return block.language in ("python", "sh") and block.mark in ("", "slow")


RUN = list(dict.fromkeys(block.page for block in BLOCKS if is_run(block)))
SLOW = list(dict.fromkeys(block.page for block in BLOCKS if is_run(block) and block.mark == "slow"))


@pytest.mark.parametrize("page", RUN)
def test_the_blocks_of_a_page_run(page, tmp_path, monkeypatch):
    run_page(page, tmp_path, monkeypatch, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", SLOW)
def test_the_slow_blocks_of_a_page_run(page, tmp_path, monkeypatch):
    run_page(page, tmp_path, monkeypatch, slow=True)


def run_page(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *, slow: bool) -> None:
    blocks = blocks_of(page)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    if any(INTO.fullmatch(block.mark) for block in blocks):
        copy_repository(folder)
        monkeypatch.setenv("PYTHONPATH", str(folder / "src"))
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    names = given(page)
    for block in blocks:
        if into := INTO.fullmatch(block.mark):
            add_to(folder / into[1], into[2], block.text)
        elif block.mark.startswith("file: "):
            (folder / block.mark.removeprefix("file: ")).write_text(block.text, encoding="utf-8")
        elif is_run(block) and (slow or block.mark != "slow"):
            run_block(block, names)
    if check := CHECKS.get(page):
        check(names)


def run_block(block: Block, names: dict[str, Any]) -> None:
    if block.language == "python":
        exec(compile(block.text, block.page, "exec"), names)
        return
    command = ["bash", "-euo", "pipefail", "-c", block.text]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"


def copy_repository(folder: Path) -> None:
    for name in ("src", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)


def add_to(file: Path, after: str | None, text: str) -> None:
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.exists() else []
    place = len(lines) if after is None else max(i for i, x in enumerate(lines, 1) if after in x)
    file.write_text("".join([*lines[:place], text, *lines[place:]]), encoding="utf-8")


def given(page: str) -> dict[str, Any]:
    """Return the names that a page's reader has; all but the README say where they come from."""
    if page != "README.md":
        return {}
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    x, y = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    optimizer = torch.optim.Adam(model.parameters())
    return {"model": model, "x": x, "F": F, "ma": ma, "loader": [(x, y)], "optimizer": optimizer}


def readme_trained(names: dict[str, Any]) -> None:
    assert names["terms"].energy.item() > 0
    assert all(p.grad is None for p in names["model"].parameters())


def energy_fell_for_real_and_units_went(names: dict[str, Any]) -> None:
    plain, frugal = names["plain"], names["frugal"]
    raw = names["energy"](plain) / names["energy"](frugal)
    fixed = names["fixed_energy"](plain) / names["fixed_energy"](frugal)
    assert raw > fixed > 1
    assert names["accuracy"](frugal) > 0.9
    assert names["smaller"].macs_after < names["smaller"].macs_before / 2


CHECKS = {
    "README.md": readme_trained,
    "docs/tutorials/practitioner.md": energy_fell_for_real_and_units_went,
}
"""What a page says of what its blocks do."""


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.page}-{block.text[:20]!r}")
def test_a_block_says_what_is_done_with_it(block):
    assert MARK.fullmatch(block.mark), f"{block.page}: no such mark: {block.mark}"
    assert block.language in ("python", "sh", "toml", "text", "dockerfile")
    into = any(INTO.fullmatch(other.mark) for other in blocks_of(block.page))
    if block.language == "toml" and "[study]" in block.text and not into:
        assert parse_study(block.text, source=block.page).run_count


@pytest.mark.parametrize(
    ("page", "room", "front_door"),
    [
        ("add-an-energy", "energy", {"src/minaction/__init__.py"}),
        ("add-a-model", "models", set()),
        ("add-a-data-set", "data", set()),
    ],
)
def test_an_addition_takes_one_room(page, room, front_door):
    marks = [INTO.fullmatch(block.mark) for block in blocks_of(f"docs/howto/{page}.md")]
    files = {mark[1] for mark in marks if mark}
    assert {file for file in files if not file.startswith(f"src/minaction/{room}/")} == front_door
    assert len(files - front_door) >= 2


def test_the_study_file_in_the_readme_is_the_recipe():
    (block,) = (b for b in BLOCKS if b.page == "README.md" and b.language == "toml")
    shown = parse_study(block.text, source="README.md")
    recipe = load_study(ROOT / "recipes" / "lambda_sweep.toml")
    assert (shown.sha256, shown.analysis_sha256) == (recipe.sha256, recipe.analysis_sha256)


def test_every_command_on_the_pages_exists_with_its_options():
    seen = 0
    for block in BLOCKS:
        if block.language == "sh":
            for line in block.text.replace("\\\n", "").splitlines():
                seen += check_command(shlex.split(line, comments=True), block.page)
    assert seen > 20


def check_command(words: list[str], page: str) -> bool:
    """Check a command of this program or a target of the Makefile; say whether it was one."""
    if words[:1] == ["make"]:
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert all(f"\n{target}:" in makefile for target in words[1:]), f"{page}: {words}"
        return True
    if words[:1] != ["minaction"]:
        return False
    command, rest = get_command(app), words[1:]
    while rest and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]
    assert not hasattr(command, "commands"), f"{page}: no command in {words}"
    known = {name for parameter in command.params for name in parameter.opts} | {"-h", "--help"}
    options = {word.partition("=")[0] for word in rest if re.match("--?[a-z]", word)}
    assert options <= known, f"{page}: {words} has no {options - known}"
    return True


def test_the_extras_named_on_the_pages_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].keys()
    for page in PAGES:
        named = re.findall(r"minaction\[(\w+)\]", (ROOT / page).read_text(encoding="utf-8"))
        assert set(named) <= extras, page
