from __future__ import annotations

import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

import minaction.data.neuromorphic as room
from minaction.data.load import load_dataset
from minaction.data.neuromorphic import load_saccade_digits
from minaction.data.sources import SOURCES
from minaction.errors import DataFileError


def recording(label, seed):
    """Events in the column of the label."""
    generator = np.random.default_rng(seed)
    times = np.sort(generator.integers(0, 315_000, 50))
    rows = ((3 * label, int(generator.integers(0, 34)), int(t) % 2, int(t)) for t in times)
    return b"".join(bytes([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255]) for x, y, p, t in rows)


@pytest.fixture
def full(tmp_path, monkeypatch, cache):
    """N-MNIST with twelve training and two test recordings of each digit, unpacked."""
    monkeypatch.setattr(room, "_RECORDINGS", {"Train": 120, "Test": 20})
    for part, number in (("Train", 12), ("Test", 2)):
        for label in range(10):
            folder = tmp_path / f"n-mnist-full/{part}/{label}"
            folder.mkdir(parents=True)
            for i in range(number):
                (folder / f"{10 * i + label + 1:05}.bin").write_bytes(recording(label, i))
    return tmp_path


def test_full_set_unpacked(full):
    dataset = load_dataset("n-mnist-full", full)
    assert [len(split) for split in dataset.splits().values()] == [108, 12, 20]
    for split in dataset.splits().values():
        assert torch.equal(split.x.sum((1, 2, 3)).argmax(1), 3 * split.y // 2)


def test_full_set_as_published_reads_the_same(full, monkeypatch):
    unpacked = load_dataset("n-mnist-full", full)
    home = full / "n-mnist-full"
    for part in ("Train", "Test"):
        with zipfile.ZipFile(home / f"{part.lower()}.zip", "w") as archive:
            for path in sorted((home / part).rglob("*.bin"), reverse=True):
                archive.write(path, path.relative_to(home))
        shutil.rmtree(home / part)
    source = SOURCES["n-mnist-full"]
    rows = tuple(replace(file, md5=None) for file in source.files)
    monkeypatch.setitem(SOURCES, "n-mnist-full", replace(source, files=rows))
    assert load_dataset("n-mnist-full", full).fingerprint == unpacked.fingerprint


def refused(root):
    with pytest.raises(DataFileError) as caught:
        load_dataset("n-mnist-full", root)
    message = str(caught.value)
    assert "\n" not in message
    assert "run `minaction data fetch n-mnist-full`" in message
    return message


def test_recording_without_events(full):
    path = full / "n-mnist-full/Train/4/00005.bin"
    path.write_bytes(b"")
    assert refused(full).startswith(f"{path}: has no events")


@pytest.mark.parametrize(
    ("contents", "problem"),
    [(b"", "has no events"), (recording(3, 0)[::-1], "has "), (bytes(9), "no whole number of")],
    ids=["no events", "junk", "cut"],
)
def test_damaged_recording_of_the_subset(tmp_path, unchecked, contents, problem):
    unchecked("n-mnist")
    for file in SOURCES["n-mnist"].files:
        path = tmp_path / "n-mnist" / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(recording(int(file.name.split("/")[1]), 0))
    path = tmp_path / "n-mnist/Train/5/00001.bin"
    path.write_bytes(contents)
    with pytest.raises(DataFileError) as caught:
        load_dataset("n-mnist", tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert problem in message
    assert message.endswith("delete it and run `minaction data fetch n-mnist`")


def test_partial_folder(full):
    (full / "n-mnist-full/Test/4/00005.bin").unlink()
    assert "has 19 recordings of Test, expected 20" in refused(full)


@pytest.fixture(scope="module")
def saccade_digits():
    return load_saccade_digits()


def test_saccade_digits(saccade_digits):
    dataset = saccade_digits
    digits = load_dataset("digits")
    for name, split in dataset.splits().items():
        assert torch.equal(split.y, digits.splits()[name].y)
        assert (split.x > 0).flatten(1).any(1).all()
    # Golden: the same on every machine, so that records of different machines compare.
    assert dataset.fingerprint == (
        "8157d5706b11e2887251a12360c3eae26e6fe6040fbe58204dc452ea7a4fddb7"
    )


def nearest_centroid_accuracy(dataset):
    x, y = dataset.train.x.flatten(1), dataset.train.y
    centroids = torch.stack([x[y == label].mean(0) for label in range(10)])
    nearest = torch.cdist(dataset.test.x.flatten(1), centroids).argmin(1)
    return (nearest == dataset.test.y).float().mean().item()


def test_saccade_digits_can_be_learned(saccade_digits):
    assert nearest_centroid_accuracy(saccade_digits) > 0.85


def test_real_recordings(real_data):
    if not (real_data / "n-mnist").exists():
        pytest.skip(f"{real_data / 'n-mnist'} is not here")
    dataset = load_dataset("n-mnist", real_data)
    assert [len(split) for split in dataset.splits().values()] == [900, 100, 100]
    assert dataset.fingerprint == (
        "80e41fa1a61d7d9d806cdf5939f25d5581739634eadb2166b0778fbe58b12c51"
    )
    assert nearest_centroid_accuracy(dataset) > 0.75


def test_subset_addresses_number_the_test_from_60001():
    addresses = {file.name: file.urls[0] for file in SOURCES["n-mnist"].files}
    assert addresses["Train/3/00008.bin"].endswith("/NMNISTsmall/8.bs2")
    assert addresses["Test/3/00019.bin"].endswith("/NMNISTsmall/60019.bs2")
