"""The README and the docs cannot rot: links resolve, code blocks run, figures are current."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import minaction as ma
from minaction.study.read_study import load_study, parse_study

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES.append(ROOT / "results" / "README.md")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not missing


def test_python_blocks_run():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    x, y = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    before = [p.detach().clone() for p in model.parameters()]
    names = {
        "model": model,
        "x": x,
        "F": F,
        "ma": ma,
        "loader": [(x, y)],
        "optimizer": torch.optim.Adam(model.parameters()),
    }
    assert len(blocks("python")) >= 2
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert any((p != q).any() for p, q in zip(before, model.parameters(), strict=True))
    assert names["terms"].energy.item() > 0


def test_the_study_file_in_the_readme_is_the_recipe():
    (text,) = blocks("toml")
    shown = parse_study(text, source="README.md")
    recipe = load_study(ROOT / "recipes" / "lambda_sweep.toml")
    assert (shown.sha256, shown.analysis_sha256) == (recipe.sha256, recipe.analysis_sha256)


def test_commands_in_the_readme_exist():
    help_text = subprocess.run(
        [sys.executable, "-m", "minaction", "study", "--help"], capture_output=True, text=True
    ).stdout
    for command in re.findall(r"^minaction study (\w+)", "\n".join(blocks("sh")), re.MULTILINE):
        assert command in help_text
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make ([\w-]+)", "\n".join(blocks("sh")), re.MULTILINE):
        assert f"\n{target}:" in makefile


def test_figures_in_the_docs_are_those_of_the_results():
    script = ROOT / "results" / "doc_figures.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_recipe_is_a_study():
    for path in sorted((ROOT / "recipes").glob("*.toml")):
        assert load_study(path).run_count > 0
