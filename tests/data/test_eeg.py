from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from minaction.data.load import load_dataset
from minaction.data.sources import SOURCES
from minaction.errors import DataFileError

NAMES = (
    *("Fp1 Fp2 F3 F4 F7 F8 T3 T4 C3 C4 T5 T6 P3 P4 O1 O2 Fz Cz Pz A2-A1".split()),
    "ECG",
)
LABELS = tuple(f"{'ECG' if name == 'ECG' else 'EEG'} {name}" for name in NAMES)


def edf(signal, labels=LABELS, rate=500):
    """A recording [channels, samples] in EDF, in records of a second, digits of 0.1 microvolt."""
    channels, records = len(signal), signal.shape[1] // rate

    def field(values, width):
        return "".join(f"{value:<{width}}"[:width] for value in values)

    header = field(["0"], 8) + field(["X X X X", "Startdate 01-JAN-2011 X X X"], 80)
    header += "01.01.1100.00.00" + field([256 * (1 + channels)], 8) + field([""], 44)
    header += field([records, 1], 8) + field([channels], 4)
    header += field(labels, 16) + field([""] * channels, 80) + field(["uV"] * channels, 8)
    for bound in (-3276.8, 3276.7, -32768, 32767):
        header += field([bound] * channels, 8)
    header += field(["HP:0.5Hz LP:45Hz"] * channels, 80) + field([rate] * channels, 8)
    header += field([""] * channels, 32)
    digits = np.round(signal * 10).astype("<i2").reshape(channels, records, rate)
    return header.encode("ascii") + digits.transpose(1, 0, 2).tobytes()


def recording(label, seconds, seed, rate=500):
    """Noise, and 10 Hz at the back of a head at rest."""
    signal = np.random.default_rng(seed).normal(0, 10, (len(LABELS), seconds * rate))
    wave = 40 * np.sin(2 * np.pi * 10 * np.arange(seconds * rate) / rate)
    if label == 0:
        signal[NAMES.index("O1")] += wave
    # Neither of these two is looked at.
    signal[-2:] *= 50
    return signal


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edf")
    for i, file in enumerate(SOURCES["eegmat"].files):
        label = int(file.name[-5]) - 1
        (folder / file.name).write_bytes(edf(recording(label, 62, i)))
    return folder


@pytest.fixture
def eeg(written, tmp_path, unchecked):
    unchecked("eegmat")
    return shutil.copytree(written, tmp_path / "eegmat")


def test_windows_by_subject(eeg):
    dataset = load_dataset("eegmat", eeg.parent)
    subjects = [set(split.groups.tolist()) for split in dataset.splits().values()]
    assert subjects == [{0, 1, 2, 3, 5, 6}, {7, 8}, {11, 12}]
    for split in dataset.splits().values():
        assert torch.equal(
            split.y.bincount(), torch.full((2,), 15 * len(set(split.groups.tolist())))
        )
        # The alpha band (the third of five) of O1 is what tells the states apart.
        alpha = split.x[:, :, 5 * NAMES.index("O1") + 2].mean(1)
        assert torch.equal(alpha < 0, split.y == 1)
        for subject in split.groups.unique():
            mean = split.x[split.groups == subject].mean((0, 1))
            assert mean.abs().max() < 1e-3


def test_the_first_two_minutes_of_rest_are_left_out(eeg):
    short = load_dataset("eegmat", eeg.parent)
    path = eeg / SOURCES["eegmat"].files[0].name
    before = np.random.default_rng(9).normal(0, 300, (len(LABELS), 120 * 500))
    path.write_bytes(edf(np.concatenate([before, recording(0, 62, 0)], axis=1)))
    assert load_dataset("eegmat", eeg.parent).fingerprint == short.fingerprint


WHOLE = edf(recording(0, 62, 0))


@pytest.mark.parametrize(
    ("contents", "problem"),
    [
        (b"", "is a cut or damaged EDF file"),
        (b"junk" * 100, "is a cut or damaged EDF file"),
        (WHOLE[:300], "is a cut or damaged EDF file"),
        (WHOLE[: len(WHOLE) // 2], "is a cut or damaged EDF file"),
        (WHOLE[:-1000], "is a cut or damaged EDF file"),
        (edf(recording(0, 59, 0)), "lasts 59 s, expected at least 60 s"),
        (edf(recording(0, 62, 0, 250), rate=250), "has 19 scalp channels at 250 Hz"),
        (edf(recording(0, 62, 0)[1:], LABELS[1:]), "has 18 scalp channels at 500 Hz"),
        (edf(recording(0, 62, 0) * 0), "has a channel without a signal"),
    ],
)
def test_names_file_and_fix(eeg, contents, problem):
    path = eeg / "Subject05_2.edf"
    path.write_bytes(contents)
    with pytest.raises(DataFileError) as caught:
        load_dataset("eegmat", eeg.parent)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert problem in message
    assert "\n" not in message
    assert message.endswith("delete it and run `minaction data fetch eegmat`")


def test_real_recordings(real_data):
    if not (real_data / "eegmat").exists():
        pytest.skip(f"{real_data / 'eegmat'} is not here")
    dataset = load_dataset("eegmat", real_data)
    assert [len(split) for split in dataset.splits().values()] == [180, 60, 60]
    assert dataset.fingerprint == (
        "c846ec61c5f984ae3f06d5edb712cb747d66aa71d55b5f05a447454daf7e2af3"
    )
