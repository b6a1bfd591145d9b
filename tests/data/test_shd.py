from __future__ import annotations

import zipfile

import h5py
import numpy as np
import pytest
import torch

from minaction.data.load import load_dataset
from minaction.errors import DataFileError


def write(path, per_class=10, **changed):
    """A file in the official layout; the label is the group of units that spikes most."""
    generator = np.random.default_rng(per_class)
    labels = np.arange(20 * per_class) % 20
    times = [np.sort(generator.uniform(0, 1.3, 40)).astype(np.float16) for _ in labels]
    units = [(35 * label + generator.integers(0, 5, 40)).astype(np.uint16) for label in labels]
    values = {"labels": labels.astype(np.uint16), "times": times, "units": units} | changed
    with h5py.File(path, "w") as file:
        if values["labels"] is not None:
            file["labels"] = values["labels"]
        for name, kind in (("times", np.float16), ("units", np.uint16)):
            rows = values[name]
            if rows is not None:
                made = file.create_dataset(
                    f"spikes/{name}", (len(rows),), dtype=h5py.vlen_dtype(np.dtype(kind))
                )
                for i, row in enumerate(rows):
                    made[i] = row
        file["extra/speaker"] = np.zeros(len(labels), np.uint16)
    return path


@pytest.fixture
def shd(tmp_path, cache):
    folder = tmp_path / "shd"
    folder.mkdir()
    write(folder / "shd_train.h5")
    write(folder / "shd_test.h5", 2)
    return tmp_path


def test_reads_the_official_layout(shd):
    dataset = load_dataset("shd", shd)
    assert [len(split) for split in dataset.splits().values()] == [180, 20, 40]
    for split in dataset.splits().values():
        assert torch.equal(split.x.sum(1).argmax(1) // 7, split.y)
        counts = split.x.double().expm1().sum((1, 2))
        assert torch.allclose(counts, torch.full_like(counts, 40))


def test_zipped_files_read_the_same(shd, monkeypatch):
    from dataclasses import replace

    from minaction.data.sources import SOURCES

    unpacked = load_dataset("shd", shd).fingerprint
    for path in list((shd / "shd").glob("*.h5")):
        with zipfile.ZipFile(f"{path}.zip", "w") as archive:
            archive.write(path, path.name)
        path.unlink()
    rows = tuple(replace(file, md5=None) for file in SOURCES["shd"].files)
    monkeypatch.setitem(SOURCES, "shd", replace(SOURCES["shd"], files=rows))
    assert load_dataset("shd", shd).fingerprint == unpacked


ONE = [np.zeros(3)]
LABEL = np.array([0])


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"labels": None}, "has no data set 'labels'"),
        ({"times": None}, "has no data set 'spikes/times'"),
        ({"units": None}, "has no data set 'spikes/units'"),
        ({"labels": np.arange(7)}, "has 40 times, 40 units and 7 labels"),
        ({"labels": np.full(40, 20)}, "has labels 20 to 20, expected 0 to 19"),
        ({"labels": np.zeros(40)}, "has labels of type float64"),
        ({"times": [[]], "units": [[]], "labels": LABEL}, "recording 0 has no spikes"),
        ({"times": ONE, "units": [[1, 2]], "labels": LABEL}, "not one unit per spike"),
        ({"times": ONE, "units": [[1, 2, 700]], "labels": LABEL}, "outside units 0 to 699"),
        ({"times": [[0.1, np.nan]], "units": [[1, 2]], "labels": LABEL}, "not finite"),
        ({"times": [[-0.1, 0.2]], "units": [[1, 2]], "labels": LABEL}, "negative"),
        ({"times": [], "units": [], "labels": LABEL[:0]}, "holds no recordings"),
    ],
)
def test_names_file_and_fix(shd, changed, problem):
    path = write(shd / "shd/shd_test.h5", 2, **changed)
    with pytest.raises(DataFileError) as caught:
        load_dataset("shd", shd)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert problem in message
    assert message.endswith("delete it and run `minaction data fetch shd`")


@pytest.mark.parametrize("keep", [0, 100, -1000])
def test_cut_file(shd, keep):
    path = shd / "shd/shd_train.h5"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataFileError, match="is not an HDF5 file") as caught:
        load_dataset("shd", shd)
    assert "\n" not in str(caught.value)
