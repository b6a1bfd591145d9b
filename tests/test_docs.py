"""The README and the docs cannot rot: links resolve and figures are current.

That their code blocks run is in test_doc_blocks.py, that the site builds in test_site.py.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from minaction.study.read_study import load_study

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES.append(ROOT / "results" / "README.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not missing


def test_figures_in_the_docs_are_those_of_the_results():
    script = ROOT / "results" / "doc_figures.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_recipe_is_a_study():
    for path in sorted((ROOT / "recipes").glob("*.toml")):
        assert load_study(path).run_count > 0
