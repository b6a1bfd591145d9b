"""`results/search.py`, in tiny: samplers against random search on scikit-learn's digits."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from tiny_search import search_of

from minaction.study.journal import latest_records

SCRIPT = Path(__file__).parents[2] / "results" / "search.py"
OPTIONS = ["--evaluations", "6", "--repeats", "2"]
SPACE = (
    ('["mlp", "gru"]', '"mlp"'),
    ("[10, 1_000, 3_000]", "[1_000, 3_000]"),
    ("evaluations = 10", "evaluations = 4"),
    ("steps = 100", "steps = 50"),
)


@pytest.fixture
def script(executor, monkeypatch):
    """The script as a module, whose workers are in this process."""
    spec = importlib.util.spec_from_file_location("search_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "executor_for", executor.start)
    return module


@pytest.mark.slow
def test_a_candidate_is_trained_once_for_all_searches(script, executor, tmp_path):
    search_of(tmp_path / "search.toml", *SPACE)
    command = [str(tmp_path / "search.toml"), "--out", str(tmp_path), *OPTIONS]
    script.main(command)
    found = json.loads((tmp_path / "comparison.json").read_text())
    (search,) = found["searches"]
    records = latest_records(tmp_path / "tiny")
    assert search["tried"] == len(records) <= search["candidates"] == 2 * 2 * 2 * 3
    for pair in search["pairs"]:
        for sampler, rows in pair["samplers"].items():
            shares = [rows[place]["values"] for place in ("0.25", "0.5", "1")]
            assert all(0 <= a <= b <= c <= 100 + 1e-9 for a, b, c in zip(*shares, strict=True))
            assert ("difference" in rows["1"]) == (sampler != "random")
    asked = len(executor.asked)
    script.main(command)
    assert len(executor.asked) == asked
    assert json.loads((tmp_path / "comparison.json").read_text()) == found
    assert "| tpe | 100 % |" in (tmp_path / "comparison.md").read_text()


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ((', "macs"]', "]"), [], "objectives must be accuracy, energy_gauge_fixed, macs"),
        (("final_seeds = 2", ""), ["--evaluations", "400"], "only 24 candidates"),
        (("final_seeds = 2", ""), ["--repeats", "1"], "give 2 or more --repeats"),
    ],
)
def test_what_cannot_be_compared_is_answered_in_one_line(
    script, tmp_path, capsys, change, options, said
):
    search_of(tmp_path / "search.toml", *SPACE, change)
    with pytest.raises(SystemExit) as exit_:
        script.main([str(tmp_path / "search.toml"), "--out", str(tmp_path), *OPTIONS, *options])
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert said in line
