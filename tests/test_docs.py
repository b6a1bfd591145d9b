"""The README and the docs cannot rot: links resolve and figures are current.

That their code blocks run is in test_doc_blocks.py, that the site builds in test_site.py.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from minaction.search.search_file import load_search
from minaction.study.read_study import load_study
from minaction.study.study_file import Study, Train

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


def test_every_recipe_is_a_study_or_a_search():
    for path in sorted((ROOT / "recipes").glob("*.toml")):
        if path.name.startswith("search_"):
            assert load_search(path).search.evaluations > 0
        else:
            assert load_study(path).run_count > 0


def test_the_reference_of_study_files_has_every_key_with_its_default():
    page = (ROOT / "docs" / "reference" / "study-files.md").read_text(encoding="utf-8")
    for name, table in Study.model_fields.items():
        rows = page.partition(f"\n## [{name}]\n")[2].partition("\n## ")[0]
        described = dict(re.findall(r"^\| `(\w+)` \|([^|]*)\|", rows, re.MULTILINE))
        assert isinstance(table.annotation, type)
        fields = {
            key: field
            for key, field in table.annotation.model_fields.items()
            if not (name == "factors" and key in Train.model_fields)
        }
        assert described.keys() == fields.keys(), name
        for key, field in fields.items():
            assert described[key].strip() == shown_default(field), f"{name}.{key}"


def shown_default(field) -> str:
    if field.is_required():
        return "required"
    default = field.default[0] if isinstance(field.default, tuple) else field.default
    return "" if default is None else f"`{shortest(default)}`"


def shortest(default) -> str:
    """A default as the page writes it; numbers as people write them."""
    written = {0.0: "0", 1e-3: "1e-3", 100_000: "100_000"}
    if isinstance(default, bool) or not isinstance(default, float | int):
        return json.dumps(default)
    return written.get(default, str(default))
