"""The documentation site builds, and refuses what is broken. Its script is docs/site.py."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONFIGURATION = ROOT / "docs" / "zensical.toml"


@pytest.fixture
def site(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("site_script", ROOT / "docs" / "site.py")
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for name in ("results", "docs"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(script, "DOCS", tmp_path / "docs")
    monkeypatch.setattr(script, "PAGES", tmp_path / "build" / "pages")
    return script


def pages_in(navigation) -> list[str]:
    if isinstance(navigation, str):
        return [navigation]
    parts = navigation.values() if isinstance(navigation, dict) else navigation
    return [page for part in parts for page in pages_in(part)]


def test_every_page_is_in_the_navigation_once():
    project = tomllib.loads(CONFIGURATION.read_text(encoding="utf-8"))["project"]
    pages = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")}
    shown = pages_in(project["nav"])
    assert sorted(shown) == sorted(pages | {"repository/CHANGELOG.md"})


def test_links_out_of_the_docs_take_their_files_along(site, tmp_path):
    (tmp_path / "docs" / "howto").mkdir()
    page = tmp_path / "docs" / "howto" / "page.md"
    page.write_text("[a](../../results/a#there) [b](../other.md) [c](https://x.org/y)\n")
    (tmp_path / "docs" / "other.md").write_text("```sh\n[no](link.md)\n```\n")
    (tmp_path / "results" / "a").mkdir()
    (tmp_path / "results" / "a" / "report.html").write_text("report")
    site.copy([page])
    copied = (site.PAGES / "howto" / "page.md").read_text()
    assert "[a](../repository/results/a/report.html#there) [b](../other.md)" in copied
    assert "[c](https://x.org/y)" in copied
    assert (site.PAGES / "repository" / "results" / "a" / "report.html").read_text() == "report"
    assert "[no](link.md)" in (site.PAGES / "other.md").read_text()


def test_a_link_to_no_file_is_an_error(site, tmp_path):
    page = tmp_path / "docs" / "page.md"
    page.write_text("[gone](../results/gone.md)\n")
    with pytest.raises(SystemExit, match=re.escape("docs/page.md: the link to ../results/gone.md")):
        site.copy([page])


def test_every_command_has_its_help_on_the_page(site):
    text = "\n".join(site.commands())
    assert "## minaction study run\n" in text
    assert "--executor" in text
    assert "## minaction study\n" not in text


def test_the_site_builds_strictly():
    pytest.importorskip("zensical", reason="needs the extra `docs`")
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "site.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (ROOT / "build" / "site" / "reference" / "training" / "index.html").is_file()
