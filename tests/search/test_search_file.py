from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny_search import search_of

from minaction.commands.search import HELP
from minaction.errors import StudyFileError
from minaction.search.search_file import load_search


def test_a_search_is_what_its_own_spelling_says(tmp_path):
    search = search_of(tmp_path / "search.toml")
    (tmp_path / "again.toml").write_text(search.to_toml())
    again = load_search(tmp_path / "again.toml")
    assert (again, again.sha256) == (search, search.sha256)
    assert search.trial == {"floor": None, "patience": 0.5, "latency_on": None}


def test_a_description_decides_nothing(tmp_path):
    plain = search_of(tmp_path / "a.toml")
    told = search_of(tmp_path / "b.toml", ('name = "tiny"', 'name = "tiny"\ndescription = "long"'))
    assert plain.sha256 == told.sha256


def test_what_the_help_shows_is_a_search(tmp_path):
    shown = HELP.split("\b\n")[1].split("\n\n")[0]
    (tmp_path / "search.toml").write_text(shown)
    assert load_search(tmp_path / "search.toml").name == "my-search"


@pytest.mark.parametrize("name", ["fashion_mnist", "myo_readings"])
def test_recipes_are_searches(name):
    recipe = Path(__file__).parents[2] / "recipes" / f"search_{name}.toml"
    assert {"accuracy", "energy_gauge_fixed", "macs"} == set(load_search(recipe).search.objectives)


BAD = {
    "an objective that is none": ('"macs"]', '"mac"]', "objectives: level 3: .*'macs'"),
    "an objective twice": ('"macs"]', '"accuracy"]', 'objectives: level "accuracy" is there twice'),
    "one objective": (
        '["accuracy", "energy_gauge_fixed", "macs"]',
        '"accuracy"',
        "objectives: has 1 of them; give two or three",
    ),
    "no sampler": ('sampler = "tpe"', "", "sampler: is missing; give one of tpe, nsga2, random"),
    "an unknown sampler": ('"tpe"', '"nsga"', "unknown sampler .*did you mean 'nsga2'"),
    "an unknown key": (
        "confirm_seeds",
        "confirm_seed",
        "unknown key; did you mean 'confirm_seeds'",
    ),
    "a key of another table": ("lam =", "floor = 0.1\nlam =", r"it belongs in \[search\]"),
    "a level twice": ("[0, 1e-2, 10]", "[0, 0.0]", "level 0.0 is there twice"),
    "a study's lambda": ("[0, 1e-2, 10]", '[0, "budget"]', '"budget" finds a lambda by itself'),
    "two data sets": ('"digits"', '["digits", "docstrings"]', "about one data set"),
    "a key in two tables": ("lr =", "parameters = 5\nlr =", r"\[space\] parameters: is also in"),
    "levels that belong in the space": ("lr = 1e-2", "lr = [1e-2, 1]", r"belongs in \[space\]"),
    "an even kernel": ("depth = [1, 2]", "kernel = [2]", "expected an odd whole number"),
    "more evaluations than candidates": (
        "evaluations = 10",
        "evaluations = 1000",
        "has only 54 candidates",
    ),
    "not one seed to confirm": ("confirm_seeds = 2", "confirm_seeds = 1", "from 2 to 1,000"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_answered_in_one_line(tmp_path, case):
    old, new, said = BAD[case]
    with pytest.raises(StudyFileError) as caught:
        search_of(tmp_path / "search.toml", (old, new))
    assert re.search(said, str(caught.value))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_called_a_search_file(tmp_path):
    with pytest.raises(StudyFileError, match="no such file; give the path of a search file"):
        load_search(tmp_path / "none.toml")
