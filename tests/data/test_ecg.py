from __future__ import annotations

import shutil
import warnings

import numpy as np
import pytest
import torch

from minaction.data.load import load_dataset
from minaction.data.sources_physiological import MIT_BIH_TEST, MIT_BIH_TRAIN, MIT_BIH_VALIDATION
from minaction.errors import DataFileError

with warnings.catch_warnings():
    # It still uses what pandas is about to drop.
    warnings.simplefilter("ignore", DeprecationWarning)
    import wfdb

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")

RECORDS = (*MIT_BIH_TRAIN, *MIT_BIH_VALIDATION, *MIT_BIH_TEST)
SYMBOLS = "NAVF"
BEATS = 360 * np.arange(1, 13)


def write(folder, record, symbols=SYMBOLS, leads=("MLII",), rate=360):
    """Twelve beats of the four classes in turn, each a peak of its own height."""
    signal = np.random.default_rng(int(record)).normal(0, 5, (13 * 360, len(leads)))
    for i, beat in enumerate(BEATS):
        signal[beat - 5 : beat + 5] += 100 * (1 + i % 4)
    wfdb.wrsamp(
        record, fs=rate, units=["mV"] * len(leads), sig_name=list(leads), fmt=["212"] * len(leads),
        adc_gain=[200] * len(leads), baseline=[0] * len(leads), write_dir=str(folder),
        d_signal=signal.astype(np.int64),
    )  # fmt: skip
    marks = [symbols[i % len(symbols)] for i in range(len(BEATS))]
    wfdb.wrann(record, "atr", BEATS, symbol=marks, write_dir=str(folder))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    for record in RECORDS:
        write(folder, record)
    return folder


@pytest.fixture
def ecg(written, tmp_path, cache):
    return shutil.copytree(written, tmp_path / "mit-bih")


def test_beats_by_patient(ecg):
    dataset = load_dataset("mit-bih", ecg.parent)
    for records, split in zip(
        (MIT_BIH_TRAIN, MIT_BIH_VALIDATION, MIT_BIH_TEST), dataset.splits().values(), strict=True
    ):
        assert sorted(map(str, set(split.groups.tolist()))) == sorted(records)
        # The last beats of the record are whole; every class is a height.
        assert split.y.bincount().tolist() == [3 * len(records)] * 4
        height = split.x[:, :, 0].amax(1)
        means = torch.stack([height[split.y == label].mean() for label in range(4)])
        assert (means.diff() > 0).all()
        assert (split.x[:, :, 0].argmax(1) - 30).abs().max() <= 2


def test_normal_and_ventricular_beats_alone(ecg):
    dataset = load_dataset("mit-bih-nv", ecg.parent)
    assert dataset.test.y.bincount().tolist() == [18, 18]
    four = load_dataset("mit-bih", ecg.parent).test
    assert torch.equal(dataset.test.x, four.x[(four.y == 0) | (four.y == 2)])


def test_official_records_of_two_leads_read_the_same(ecg):
    one = load_dataset("mit-bih", ecg.parent)
    record = wfdb.rdrecord(str(ecg / "101"), physical=False)
    both = np.column_stack([record.d_signal[:, 0], record.d_signal[:, 0] // 2])
    wfdb.wrsamp(
        "101", fs=360, units=["mV"] * 2, sig_name=["MLII", "V5"], fmt=["212"] * 2,
        adc_gain=[200] * 2, baseline=[0] * 2, write_dir=str(ecg), d_signal=both,
    )  # fmt: skip
    assert load_dataset("mit-bih", ecg.parent).fingerprint == one.fingerprint


def refused(ecg, file):
    with pytest.raises(DataFileError) as caught:
        load_dataset("mit-bih", ecg.parent)
    message = str(caught.value)
    assert message.startswith(f"{ecg / file}: ")
    assert "\n" not in message
    assert message.endswith("delete it and run `minaction data fetch mit-bih`")
    return message


def test_record_without_annotated_beats(ecg):
    write(ecg, "203", symbols="+")
    assert "has no annotated beats" in refused(ecg, "203.atr")


def test_record_without_the_lead(ecg):
    write(ecg, "203", leads=("V5",))
    assert "has V5 at 360 Hz, expected MLII at 360 Hz" in refused(ecg, "203.hea")


def test_record_at_another_rate(ecg):
    write(ecg, "203", rate=250)
    assert "has MLII at 250 Hz" in refused(ecg, "203.hea")


def test_samples_without_a_value(ecg):
    record = wfdb.rdrecord(str(ecg / "203"), physical=False)
    signal = record.d_signal.copy()
    # What this format writes where a signal is not a number.
    signal[700] = -2048
    wfdb.wrsamp(
        "203", fs=360, units=["mV"], sig_name=["MLII"], fmt=["212"], adc_gain=[200],
        baseline=[0], write_dir=str(ecg), d_signal=signal,
    )  # fmt: skip
    assert "has 1 samples without a value" in refused(ecg, "203.dat")


def test_annotations_out_of_order(ecg):
    def word(code, number):
        return ((code << 10) | number).to_bytes(2, "little")

    def skip(samples):
        # The high half comes first.
        return (
            word(59, 0)
            + (samples >> 16 & 0xFFFF).to_bytes(2, "little")
            + (samples & 0xFFFF).to_bytes(2, "little")
        )

    normal = 1
    marks = word(normal, 900), skip(-500), word(normal, 0), word(0, 0)
    (ecg / "203.atr").write_bytes(b"".join(marks))
    assert "has annotations out of order" in refused(ecg, "203.atr")


def test_changed_samples(ecg):
    path = ecg / "203.dat"
    changed = bytearray(path.read_bytes())
    changed[100] ^= 1
    path.write_bytes(changed)
    assert "another checksum than its header says" in refused(ecg, "203.dat")


@pytest.mark.parametrize("keep", [0, 100])
def test_cut_signal(ecg, keep):
    path = ecg / "203.dat"
    path.write_bytes(path.read_bytes()[:keep])
    assert "is not a WFDB record" in refused(ecg, "203.hea")


@pytest.mark.parametrize("contents", [b"", b"junk\n", b"\xff\xfe\x00\n"])
def test_damaged_header(ecg, contents):
    (ecg / "203.hea").write_bytes(contents)
    refused(ecg, "203.hea")


def test_empty_annotations(ecg):
    (ecg / "203.atr").write_bytes(b"")
    refused(ecg, "203.atr")


def test_missing_record(ecg, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    (ecg / "203.atr").unlink()
    with pytest.raises(
        DataFileError, match=r"203\.atr: missing and not downloaded from https://ph"
    ):
        load_dataset("mit-bih", ecg.parent)


def test_real_records(real_data):
    if not (real_data / "mit-bih").exists():
        pytest.skip(f"{real_data / 'mit-bih'} is not here")
    dataset = load_dataset("mit-bih", real_data)
    counts = {name: split.y.bincount().tolist() for name, split in dataset.splits().items()}
    assert counts == {
        "train": [15436, 246, 2599, 386],
        "validation": [4574, 75, 917, 15],
        "test": [13270, 120, 2328, 386],
    }
