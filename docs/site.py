"""Builds the documentation site: `make docs`, or `python docs/site.py`.

The pages are read in the repository as well, where they link to files that are no pages: results,
recipes, examples. For the site they are copied to `build/pages` with every file they link to, and
the links follow; one that leads to no file is an error here. Links between pages, anchors and
references to the code are checked by zensical. The site is then in `build/site`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import typer
from typer.main import get_command

from minaction.cli import app

ROOT = Path(__file__).parents[1]
DOCS, PAGES = ROOT / "docs", ROOT / "build" / "pages"
CONFIGURATION = DOCS / "zensical.toml"
OUTSIDE = "repository"
"""Folder of the site for files that lie outside docs/."""

LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)\s#]+)(?=[)#])")
FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
COMMANDS = "<!-- commands -->"


def main() -> None:
    """Assemble the pages and build the site, or exit with 1 where something is broken."""
    shutil.rmtree(PAGES, ignore_errors=True)
    copy([*DOCS.rglob("*.md"), ROOT / "CHANGELOG.md"])
    shutil.copy(CONFIGURATION, PAGES.parent / CONFIGURATION.name)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    sys.exit(subprocess.run(command, cwd=PAGES.parent, check=False).returncode)


def copy(files: list[Path]) -> None:
    """Copy files to where the site has them, with every file that they link to."""
    known = set(files)
    while files:
        file = files.pop()
        place = PAGES / place_of(file)
        place.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix != ".md":
            shutil.copy(file, place)
            continue
        text, linked = relinked(file)
        place.write_text(text.replace(COMMANDS, "\n".join(commands())), encoding="utf-8")
        files += linked - known
        known |= linked


def place_of(file: Path) -> Path:
    """Return where the site has a file, relative to its pages."""
    if file.is_relative_to(DOCS):
        return file.relative_to(DOCS)
    return Path(OUTSIDE) / file.relative_to(ROOT)


def relinked(page: Path) -> tuple[str, set[Path]]:
    """Return a page's text for the site, and the files that it links to."""
    linked: set[Path] = set()

    def follow(match: re.Match[str]) -> str:
        target = linked_file(page, match[1])
        linked.add(target)
        place = place_of(target)
        return Path(os.path.relpath(place, place_of(page).parent)).as_posix()

    parts = FENCED.split(page.read_text(encoding="utf-8"))
    parts[::2] = [LINK.sub(follow, part) for part in parts[::2]]  # code is left as it is
    return "".join(parts), linked


def linked_file(page: Path, target: str) -> Path:
    """Return the file that a link of a page leads to; of a folder its report or README."""
    file = (page.parent / target).resolve()
    if file.is_dir():
        within = (file / name for name in ("report.html", "README.md"))
        file = next((one for one in within if one.is_file()), file)
    if not (file.is_file() and file.is_relative_to(ROOT)):
        sys.exit(f"{page.relative_to(ROOT)}: the link to {target} leads to no file")
    return file


def commands() -> Iterator[str]:
    """Yield what `--help` says of every command of the program, as Markdown."""
    pending = [("minaction", get_command(app))]
    while pending:
        name, command = pending.pop(0)
        within = getattr(command, "commands", {})
        pending = [(f"{name} {part}", sub) for part, sub in within.items()] + pending
        if not within:
            context = typer.Context(command, info_name=name, terminal_width=88)
            yield f"## {name}\n\n```text\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    main()
