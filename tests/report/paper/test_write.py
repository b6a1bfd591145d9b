from __future__ import annotations

import hashlib
import json
import shutil

import pytest

from minaction.errors import InputError
from minaction.report.paper.canvas import WIDTHS
from minaction.report.paper.write import write_paper


@pytest.fixture(scope="module")
def study(make_once):
    of_two = make_once.study(seeds=3)
    return make_once.write(of_two, make_once.records(of_two))


@pytest.fixture(scope="module")
def made(study):
    return write_paper(study, study.parent / "paper")


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_every_figure_and_table_has_its_files(made):
    names = set(contents(made.folder))
    assert names == {
        *(f"figures/{width}/{name}.pdf" for width in WIDTHS for name in made.figures),
        *(f"tables/{name}.{kind}" for name in made.tables for kind in ("tex", "csv")),
        *("captions.tex", "captions.md", "manifest.json"),
    }
    assert {"accuracy", "energy", "rescaling", "pareto-vision", "effect-sizes"} == set(made.figures)
    captions = (made.folder / "captions.md").read_text()
    for name in (*made.figures, *made.tables):
        assert f": {name}\n" in captions
    assert [one.name for one in made.missing] == [
        *("interaction", "target-cost", "efficiency-gains", "posthoc-letters")
    ]


def test_the_manifest_has_the_checksums(made):
    found = contents(made.folder)
    listed = json.loads(found.pop("manifest.json"))["files"]
    assert listed == {name: hashlib.sha256(data).hexdigest() for name, data in found.items()}


@pytest.mark.slow
def test_the_same_study_gives_the_same_bytes(study, made, tmp_path):
    journal = study / "journal.jsonl"
    other = tmp_path / "other"
    shutil.copytree(study, other)
    lines = journal.read_text().splitlines(keepends=True)
    (other / "journal.jsonl").write_text("".join(reversed(lines)))
    again = write_paper(other, tmp_path / "paper")
    assert contents(again.folder) == contents(made.folder)


def refused(make, tmp_path, message, seeds=3, change=None):
    study = make.study(seeds=seeds)
    directory = make.write(study, make.records(study, change))
    with pytest.raises(InputError, match=message) as caught:
        write_paper(directory, tmp_path / "paper")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "paper").exists()
    assert not list(tmp_path.glob(".paper*"))


def test_a_study_without_a_run_is_refused(make, tmp_path):
    refused(make, tmp_path, "no run is done", change=lambda record: None)


def test_a_study_whose_runs_all_failed_is_refused(make, tmp_path):
    refused(make, tmp_path, "no run is ok", change=lambda r: make.ended(r, "failed", "why"))


def test_a_study_of_one_seed_is_refused(make, tmp_path):
    refused(make, tmp_path, "no setting has two ok runs", seeds=1)


def test_a_folder_of_the_users_is_refused_before_anything_is_read(tmp_path):
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper" / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match=r"holds thesis\.tex"):
        write_paper(tmp_path, tmp_path / "paper")
    assert [path.name for path in (tmp_path / "paper").iterdir()] == ["thesis.tex"]
