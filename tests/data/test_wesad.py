from __future__ import annotations

import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from python2_pickle import python2_pickle

from minaction.data.load import load_dataset
from minaction.data.sources import SOURCES
from minaction.errors import DataFileError

CHEST, WRIST = 700, 4
PEOPLE = (*range(2, 12), *range(13, 18))
# Transient, baseline, transient, stress, amusement, meditation: label and seconds.
PROTOCOL = ((0, 7), (1, 95), (0, 6), (2, 95), (3, 65), (4, 70))
BEATS = {0: 60, 1: 60, 2: 100, 3: 75, 4: 60}


def ecg(rate_bpm, seconds, phase):
    """Narrow peaks on a little noise."""
    time = np.arange(seconds * CHEST) / CHEST
    since = (time + phase) % (60 / rate_bpm)
    noise = np.random.default_rng(seconds).normal(0, 0.01, len(time))
    return np.exp(-(((since - 0.2) / 0.015) ** 2)) + noise


def recording(person, **changed):
    """One person in the official layout, only longer or shorter in each state."""
    labels = np.concatenate([np.full(n * CHEST, label, np.int32) for label, n in PROTOCOL])
    seconds = len(labels) // CHEST
    stress = np.concatenate([np.full(n, label == 2) for label, n in PROTOCOL])
    time = np.arange(seconds * CHEST) / CHEST
    heart = np.concatenate([ecg(BEATS[label] + person, n, person / 7) for label, n in PROTOCOL])
    breathing = 5 * np.sin(2 * np.pi * time * 0.2)
    skin = person + 2.0 * np.repeat(stress, WRIST) + np.arange(seconds * WRIST) % 3 / 10
    chest = {"ECG": heart, "Resp": breathing}
    wrist = {"EDA": skin, "TEMP": 30 + np.arange(seconds * WRIST) % 5 / 10}
    made = {"chest": chest, "wrist": wrist}
    for key, value in changed.items():
        if key == "label":
            labels = value
        else:
            made["chest" if key in chest else "wrist"][key] = value
    signal = {
        device: {kind: np.asarray(v)[:, None] for kind, v in kinds.items() if v is not None}
        for device, kinds in made.items()
    }
    return {"signal": signal, "label": labels, "subject": f"S{person}"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    for person in PEOPLE:
        path = folder / f"WESAD/S{person}/S{person}.pkl"
        path.parent.mkdir(parents=True)
        path.write_bytes(python2_pickle(recording(person), 2))
        (path.parent / f"S{person}_readme.txt").write_text("not read")
    return folder


@pytest.fixture
def wesad(written, tmp_path, cache):
    return shutil.copytree(written, tmp_path / "wesad", copy_function=link)


def link(source, target):
    """A link in place of a copy; a test that changes a file removes it first."""
    Path(target).symlink_to(source)


def change(wesad, contents, person=10):
    """Put something else in place of a person's file; the tenth is read first."""
    path = wesad / f"WESAD/S{person}/S{person}.pkl"
    path.unlink()
    path.write_bytes(contents)
    return path


def test_windows_of_runs_by_person(wesad):
    dataset = load_dataset("wesad", wesad.parent)
    people = [set(split.groups.tolist()) for split in dataset.splits().values()]
    assert people == [{2, 3, 4, 7, 8, 9, 13, 14, 17}, {6, 11, 16}, {5, 10, 15}]
    for split, part in zip(dataset.splits().values(), people, strict=True):
        # Of 95 s two windows, of 65 s one; meditation and transients are left out.
        assert split.y.bincount().tolist() == [2 * len(part), 2 * len(part), len(part)]
        # A heart under stress beats fastest, at rest slowest; the skin follows stress alone.
        heart, skin = split.x[:, :, 0].mean(1), split.x[:, :, 2].mean(1)
        for person in part:
            mine = split.groups == person
            means = [float(heart[mine & (split.y == label)].mean()) for label in range(3)]
            assert means[0] < means[2] < means[1]
            assert torch.equal(skin[mine] > 0, split.y[mine] == 1)


def test_heart_rate_is_that_of_the_beats(wesad):
    dataset = load_dataset("wesad", wesad.parent)
    # Standardised by person, but the steps between the states are 40 and 15 beats per minute.
    split = dataset.test
    mine = split.groups == 5
    heart = [float(split.x[mine & (split.y == label), 10:50, 0].median()) for label in range(3)]
    assert (heart[2] - heart[0]) / (heart[1] - heart[0]) == pytest.approx(15 / 40, abs=0.02)


def test_the_official_archive_reads_the_same(wesad):
    unpacked = load_dataset("wesad", wesad.parent).fingerprint
    with zipfile.ZipFile(wesad / "WESAD.zip", "w") as archive:
        for path in sorted(wesad.rglob("*.*"), reverse=True):
            if path.is_file() and path.name != "WESAD.zip":
                archive.write(path, path.relative_to(wesad))
    shutil.rmtree(wesad / "WESAD")
    assert load_dataset("wesad", wesad.parent).fingerprint == unpacked


def test_text_protocol_reads_the_same(wesad):
    binary = load_dataset("wesad", wesad.parent).fingerprint
    change(wesad, python2_pickle(recording(10), 0))
    assert load_dataset("wesad", wesad.parent).fingerprint == binary


def refused(path, root):
    before = outside_the_cache(root)
    with pytest.raises(DataFileError) as caught:
        load_dataset("wesad", root)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.endswith("delete it and run `minaction data fetch wesad`")
    assert "\n" not in message
    assert outside_the_cache(root) == before
    return message


def outside_the_cache(root):
    return sorted(path for path in root.rglob("*") if root / "cache" not in (path, *path.parents))


class _Hostile:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return open, (self.target, "w")


def test_a_hostile_pickle_in_place_of_a_file(wesad, tmp_path):
    target = tmp_path / "hostile-was-here"
    path = change(wesad, pickle.dumps(_Hostile(str(target)), 2))
    message = refused(path, wesad.parent)
    assert "is no pickle of arrays (it asks for" in message
    assert "which is no array: not trusted" in message
    assert not target.exists()


SECONDS = sum(n for _, n in PROTOCOL)
LABELS = recording(10)["label"]


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"ECG": None}, "has no signal / chest / ECG"),
        ({"TEMP": None}, "has no signal / wrist / TEMP"),
        ({"EDA": np.full(SECONDS * WRIST, np.nan)}, "has NaN in EDA of the wrist"),
        ({"Resp": np.zeros(50 * CHEST)}, "has 50 s of Resp of the chest at 700 Hz and 338 s of"),
        ({"ECG": np.zeros(SECONDS * CHEST)}, "has no heart beats in ECG of the chest"),
        ({"EDA": np.zeros((SECONDS * WRIST, 2))}, "expected one column of numbers"),
        ({"label": LABELS * 0}, "has no 60 s of baseline, stress or amusement"),
        ({"label": LABELS * 3}, "has labels 0 to 12, not 0 to 7"),
        ({"label": LABELS / 1.0}, "has labels of type float64"),
        ({"label": LABELS[:5]}, "has labels of type int32 for 0 samples"),
        ({"label": "no labels"}, "has a label that is no array"),
    ],
)
def test_names_file_and_fix(wesad, changed, problem):
    path = change(wesad, python2_pickle(recording(10, **changed), 2))
    assert problem in refused(path, wesad.parent)


def test_cut_file(wesad):
    path = change(wesad, python2_pickle(recording(10), 2)[:100_000])
    assert "is no pickle of arrays" in refused(path, wesad.parent)


def test_something_else_than_a_recording(wesad):
    path = change(wesad, python2_pickle({"subject": "S7"}, 2))
    assert "has no label" in refused(path, wesad.parent)


def test_a_person_who_is_missing(wesad):
    shutil.rmtree(wesad / "WESAD/S9")
    assert "has no S9/S9.pkl" in refused(wesad, wesad.parent)


def test_a_class_absent_from_a_part(wesad):
    for person in (5, 10, 15):
        labels = np.where(LABELS == 3, 0, LABELS)
        change(wesad, python2_pickle(recording(person, label=labels), 2), person)
    assert "has no test sample of class 'amusement'" in refused(wesad, wesad.parent)


def test_missing_names_file_and_address(tmp_path, cache, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(DataFileError, match=r"WESAD\.zip: missing and not downloaded from https"):
        load_dataset("wesad", tmp_path)


def test_an_archive_that_leads_outside(tmp_path, cache):
    folder = tmp_path / "wesad"
    folder.mkdir()
    with zipfile.ZipFile(folder / "WESAD.zip", "w") as archive:
        archive.writestr("../S2/S2.pkl", b"")
    assert "a path out of the archive: not trusted" in refused(folder / "WESAD.zip", tmp_path)


def test_the_row_says_where_it_is_from():
    source = SOURCES["wesad"]
    assert source.files[0].urls[0].startswith("https://uni-siegen.sciebo.de/")
    assert "Schmidt" in source.citation
    assert not source.simulated
