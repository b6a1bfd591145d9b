from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

from minaction.errors import StorageError, StudyDirectoryError, StudyFileError
from minaction.study.directory import (
    load_study_directory,
    open_study_directory,
    remove_unbegun_study,
    write_text_atomically,
)
from minaction.study.journal import Journal
from minaction.study.read_study import parse_study
from minaction.study.study_file import Study

TEXT = (
    '[study]\nname = "s"\nseeds = 3\n[factors]\ndataset = ["mnist", "digits"]\nmodel = "mlp"\n'
    "[train]\nepochs = 3\n"
)


def study(old: str = "", new: str = "") -> Study:
    return parse_study(TEXT.replace(old, new), source="s.toml")


def snapshot(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_what_was_made_for_a_study_is_taken_back(tmp_path):
    open_study_directory(tmp_path / "a", study())
    with Journal(tmp_path / "a"):
        remove_unbegun_study(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_study_with_records_and_files_of_others_stay(tmp_path):
    open_study_directory(tmp_path, study())
    (tmp_path / "journal.jsonl").write_text("{}\n")
    before = snapshot(tmp_path)
    remove_unbegun_study(tmp_path)
    assert snapshot(tmp_path) == before
    (tmp_path / "journal.jsonl").write_text("")
    (tmp_path / "journal.lock").touch()
    (tmp_path / "notes").write_text("mine")
    remove_unbegun_study(tmp_path)
    assert snapshot(tmp_path) == {"notes": b"mine"}


def test_a_new_directory_holds_the_study(tmp_path):
    directory = tmp_path / "a" / "b"
    open_study_directory(directory, study())
    assert load_study_directory(directory) == study()
    assert (directory / "study.toml").read_text() == study().to_toml()
    assert not list(directory.glob("*.partial"))


def test_an_empty_directory_is_taken(tmp_path):
    open_study_directory(tmp_path, study())
    assert load_study_directory(tmp_path) == study()


def test_the_same_study_is_let_in_again(tmp_path):
    open_study_directory(tmp_path, study())
    before = snapshot(tmp_path)
    open_study_directory(str(tmp_path), study("epochs = 3\n", "epochs = 3\nlr = 1.0e-3\n"))
    with Journal(tmp_path):  # a running study may be checked, though not run twice
        open_study_directory(tmp_path, study())
    before["journal.jsonl"] = b""
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ("epochs = 3", "epochs = 5", "[train] epochs is 3 there, 5 here"),
        ('"s"', '"t"', '[study] name is "s" there, "t" here'),
        (
            '["mnist", "digits"]',
            '"digits"',
            '[factors] dataset is ["digits", "mnist"] there, ["digits"] here',
        ),
        (
            "[train]\nepochs = 3",
            "epochs = [3, 5]\n[analysis]\nalpha = 0.1",
            "[train] epochs is 3 there, not given here (and 2 more)",
        ),
        (
            "[train]",
            "[analysis]\nmargin = 0.01\n[train]",
            "[analysis] margin is 0.005 there, 0.01 here",
        ),
    ],
)
def test_another_study_is_refused(tmp_path, old, new, difference):
    open_study_directory(tmp_path, study())
    before = snapshot(tmp_path)
    with pytest.raises(StudyDirectoryError) as caught:
        open_study_directory(tmp_path, study(old, new))
    assert str(caught.value) == (
        f"{tmp_path}: holds another study: {difference}; choose another --out"
    )
    assert snapshot(tmp_path) == before


def test_a_directory_of_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(StudyDirectoryError, match=r'holds other files \("thesis.tex"\)'):
        open_study_directory(tmp_path, study())
    assert snapshot(tmp_path) == {"thesis.tex": b"mine"}


@pytest.mark.parametrize("inside", [".", "sub"])
def test_a_file_is_no_directory(tmp_path, inside):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StudyDirectoryError, match="is a file or lies in one"):
        open_study_directory(tmp_path / "file" / inside, study())


def test_an_interrupted_start_is_taken_up(tmp_path):
    (tmp_path / "journal.lock").touch()
    (tmp_path / ".study.toml.0123abcd.partial").write_text("[stu")
    open_study_directory(tmp_path, study())
    assert load_study_directory(tmp_path) == study()


def test_a_damaged_study_file_is_named(tmp_path):
    (tmp_path / "study.toml").write_text("[study")
    for use in (load_study_directory, lambda path: open_study_directory(path, study())):
        with pytest.raises(StudyFileError, match=r"study\.toml: line 1, column 7"):
            use(tmp_path)


@pytest.mark.parametrize(
    ("name", "what"), [("none", "no such directory"), ("empty", "no study.toml in it")]
)
def test_there_must_be_a_study(tmp_path, name, what):
    (tmp_path / "empty").mkdir()
    with pytest.raises(StudyDirectoryError) as caught:
        load_study_directory(tmp_path / name)
    assert str(caught.value) == (
        f"{tmp_path / name}: {what}; give the --out directory of a `minaction study run`"
    )


def test_of_two_drivers_that_start_together_one_wins(tmp_path):
    code = (
        "import sys\n"
        "from minaction.errors import StudyDirectoryError\n"
        "from minaction.study.directory import open_study_directory\n"
        "from minaction.study.read_study import parse_study\n"
        "study = parse_study(sys.argv[2], source='s')\n"
        "sys.stdin.read()\n"
        "try:\n    open_study_directory(sys.argv[1], study)\n"
        "except StudyDirectoryError:\n    sys.exit(2)\n"
    )
    names = [f"driver-{i}" for i in range(4)]
    drivers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "d"), TEXT.replace('"s"', f'"{name}"')],
            stdin=subprocess.PIPE,
        )
        for name in names
    ]
    for driver in drivers:
        assert driver.stdin is not None
        driver.stdin.close()
    codes = [driver.wait() for driver in drivers]
    assert sorted(codes) == [0, 2, 2, 2]
    assert load_study_directory(tmp_path / "d").name == names[codes.index(0)]


def test_text_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "report.html"
    write_text_atomically(path, "äöü\n")
    assert path.read_bytes() == "äöü\n".encode()
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(
            StorageError, match=r"report\.html: cannot be written \(File too large\)"
        ):
            write_text_atomically(path, "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert snapshot(tmp_path) == {"report.html": "äöü\n".encode()}
