from __future__ import annotations

import gzip

import numpy as np
import pytest
import torch

from minaction.data.dataset import DataSpec
from minaction.data.load import load_dataset
from minaction.data.split import stratified_holdout
from minaction.data.vision import GreyImages, image_dataset, load_idx_images
from minaction.errors import DataFileError

SPEC = DataSpec(name="toy", modality="vision", shape=(1, 3, 2), classes=2, class_names=("a", "b"))


def images(n, seed):
    generator = np.random.default_rng(seed)
    return GreyImages(
        pixels=generator.integers(0, 256, (n, 3, 2), dtype=np.uint8),
        labels=np.arange(n, dtype=np.uint8) % 2,
    )


def test_standardises_with_the_training_part_alone():
    official = images(100, 0)
    dataset = image_dataset(official, images(20, 1), SPEC)
    held_out = stratified_holdout(official.labels, 10)
    fitted = official.pixels[~held_out] / 255
    mean, std = fitted.mean(), fitted.std()
    expected = torch.from_numpy((official.pixels / 255 - mean) / std).float().unsqueeze(1)
    torch.testing.assert_close(dataset.train.x, expected[~held_out])
    torch.testing.assert_close(dataset.validation.x, expected[held_out])
    assert dataset.train.x.mean().abs() < 1e-6
    assert dataset.train.x.std(correction=0) == pytest.approx(1, abs=1e-6)


def test_validation_and_test_do_not_touch_the_training_part():
    official, other = images(100, 0), images(100, 0)
    other.pixels[stratified_holdout(other.labels, 10)] = 255
    first = image_dataset(official, images(20, 1), SPEC)
    second = image_dataset(other, images(20, 2), SPEC)
    assert torch.equal(first.train.x, second.train.x)
    assert first.fingerprint != second.fingerprint


def test_loads_the_idx_layout(tiny, use_source, tmp_path):
    use_source(tiny)
    tiny.write(tmp_path / "mnist")
    dataset = load_idx_images("mnist", tmp_path)
    assert {name: len(split) for name, split in dataset.splits().items()} == {
        "train": 180,
        "validation": 20,
        "test": 50,
    }
    assert dataset.spec.shape == (1, 4, 4)


@pytest.mark.parametrize(
    ("changed", "file", "problem"),
    [
        ({"train_labels_idx1_ubyte": np.arange(200) % 11}, "train-labels", "has label 10 at"),
        ({"t10k_labels_idx1_ubyte": np.arange(49) % 10}, "t10k-labels", "has 49 labels for the 50"),
        ({"t10k_images_idx3_ubyte": np.zeros((50, 5, 4))}, "t10k-images", "has images of (5, 4)"),
        ({"train_images_idx3_ubyte": np.zeros((200, 16))}, "train-images", "starts with 00000802"),
        (
            {"t10k_labels_idx1_ubyte": np.arange(50) % 9},
            "t10k-labels",
            "no test sample of class '9'",
        ),
        ({"train_labels_idx1_ubyte": np.arange(200) % 9}, "train-labels", "no train sample of"),
    ],
    ids=[
        *("label out of range", "labels missing", "wrong size of images", "wrong magic"),
        *("class absent from the test", "class absent from training"),
    ],
)
def test_names_file_and_fix(tiny_with, use_source, tmp_path, changed, file, problem):
    data = tiny_with(**changed)
    use_source(data)
    data.write(tmp_path / "mnist")
    with pytest.raises(DataFileError) as caught:
        load_dataset("mnist", tmp_path)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "mnist" / file))
    assert problem in message
    assert message.endswith("delete it and run `minaction data fetch mnist`")
    assert "\n" not in message


def test_wrong_checksum_and_cut_file(tiny, use_source, tmp_path):
    use_source(tiny)
    path = tiny.write(tmp_path / "mnist") / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), mtime=1))
    with pytest.raises(DataFileError, match="has sha256"):
        load_dataset("mnist", tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataFileError, match=r"has \d+ bytes, expected"):
        load_dataset("mnist", tmp_path)


def nearest_centroid_accuracy(dataset):
    x, y = dataset.train.x.flatten(1), dataset.train.y
    centroids = torch.stack([x[y == label].mean(0) for label in range(dataset.spec.classes)])
    nearest = torch.cdist(dataset.test.x.flatten(1), centroids).argmin(1)
    return (nearest == dataset.test.y).float().mean().item()


@pytest.mark.parametrize(
    ("name", "fingerprint", "accuracy"),
    [
        ("mnist", "921fdc4a29c0333370cac382bcf048019fe29c137aad85556ef0b805f25e514e", 0.80),
        ("fashion-mnist", "8341ee521cdece817356204cef84fd528da8fffc9d322705827d66b668e6e29a", 0.66),
    ],
)
def test_real_data(name, fingerprint, accuracy, real_data):
    if not (real_data / name).exists():
        pytest.skip(f"{real_data / name} is not here")
    dataset = load_dataset(name, real_data)
    assert [tuple(split.x.shape) for split in dataset.splits().values()] == [
        (54_000, 1, 28, 28),
        (6_000, 1, 28, 28),
        (10_000, 1, 28, 28),
    ]
    # Golden: the same on every machine, so that records of different machines compare.
    assert dataset.fingerprint == fingerprint
    official = (dataset.train.y.bincount() + dataset.validation.y.bincount()).tolist()
    assert official == OFFICIAL_COUNTS[name]
    share = dataset.validation.y.bincount() / torch.tensor(official)
    assert (share - 0.1).abs().max() < 1e-3
    assert nearest_centroid_accuracy(dataset) > accuracy


OFFICIAL_COUNTS = {
    "mnist": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "fashion-mnist": [6000] * 10,
}
