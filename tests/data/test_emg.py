from __future__ import annotations

import gzip

import numpy as np
import pytest
import torch

from minaction.data.load import load_dataset
from minaction.data.sources import SOURCES
from minaction.errors import DataFileError

RUN = 250


@pytest.fixture
def myo(tmp_path, unchecked):
    """All 120 files, gzipped, of three runs each; the electrode of the gesture is the loudest."""
    unchecked("myo-readings")
    generator = np.random.default_rng(0)
    for file in SOURCES["myo-readings"].files:
        gesture = int(file.name.split("/")[-1][0])
        rows = generator.integers(-5, 6, (3 * RUN, 9))
        rows[:, 8] = np.repeat([0, gesture, 0], RUN)
        rows[RUN : 2 * RUN, gesture] *= 20
        path = tmp_path / f"myo-readings/{file.packed_name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text_of(rows), mtime=0))
    return tmp_path


def text_of(rows):
    return "".join(",".join(map(str, row)) + "\n" for row in rows).encode()


def test_windows_of_runs_by_session(myo):
    dataset = load_dataset("myo-readings", myo)
    sessions = [set(split.groups.tolist()) for split in dataset.splits().values()]
    assert sessions == [{0, 1, 3, 6, 7, 9, 12, 13}, {4, 10}, {2, 5, 8, 11, 14}]
    # Of 250 samples: (250 - 100) / 50 + 1 windows in a first run, one less in the others; the
    # three runs of a file at rest are one run of 750.
    assert len(dataset.test) == 5 * (14 + 7 * (4 + 3 + 3))
    gestures = dataset.test.y > 0
    for kind in (slice(8), slice(8, 16)):  # the signal and its changes
        loudest = dataset.test.x.mean(1)[:, kind].argmax(1)
        assert torch.equal(loudest[gestures], dataset.test.y[gestures])


def test_a_sample_is_the_log_amplitude_on_the_scale_of_its_session(myo):
    splits = load_dataset("myo-readings", myo).splits().values()
    x, groups = torch.cat([s.x for s in splits]), torch.cat([s.groups for s in splits])
    files = sorted((myo / "myo-readings/_readings_right_hand/12345-2").iterdir())
    recordings = [amplitudes_of(np.loadtxt(path, delimiter=",", dtype=int)) for path in files]
    session = np.concatenate(recordings)
    expected = (session - session.mean((0, 1))) / session.std((0, 1))
    np.testing.assert_allclose(x[groups == 1].numpy(), expected, atol=1 / 4096)


def amplitudes_of(rows):
    """The windows of a recording one by one, frame by frame."""
    found = []
    runs = np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows[:, 8])) + 1)
    for run in runs:
        first = run[0] + (50 if run[0] else 0)
        for start in range(first, run[-1] + 2 - 100, 50):
            window = []
            for frame in range(start, start + 100, 20):
                before = [max(t - 1, 0) for t in range(frame, frame + 20)]
                signal = rows[frame : frame + 20, :8]
                change = signal - rows[before, :8]
                window.append(np.log(1 + np.hstack([abs(signal).mean(0), abs(change).mean(0)])))
            found.append(window)
    return np.array(found)


def test_no_session_shows_in_another(myo):
    before = load_dataset("myo-readings", myo).train
    path = myo / "myo-readings/_readings_right_hand/12345-3/2.txt.gz"
    rows = np.loadtxt(path, delimiter=",", dtype=int)
    rows[:, :8] //= 2
    path.write_bytes(gzip.compress(text_of(rows)))
    after = load_dataset("myo-readings", myo)
    assert torch.equal(after.train.x, before.x)


def test_an_electrode_without_a_signal_is_zero(myo):
    for path in (myo / "myo-readings/_readings_right_hand/12345-1").iterdir():
        rows = np.loadtxt(path, delimiter=",", dtype=int)
        rows[:, 2] = 0
        path.write_bytes(gzip.compress(text_of(rows)))
    train = load_dataset("myo-readings", myo).train
    silent = train.x[train.groups == 0]
    assert not silent[..., [2, 10]].any()
    assert silent.isfinite().all()


def test_decompressed_files_read_the_same(myo):
    packed = load_dataset("myo-readings", myo).fingerprint
    for path in sorted(myo.rglob("*.gz")):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert load_dataset("myo-readings", myo).fingerprint == packed


GOOD = b"1,2,3,4,5,6,7,8,0\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (GOOD + b"1,2,3,4,5,6,7,0\n", "is not 9 columns of integers (the number of columns"),
        (b"1,2,3,4,5,6,7,0\n", "has 1 rows of 8 columns, not 9"),
        (GOOD + b"1,2,3,4,5,6,7,,0\n", "is not 9 columns of integers (could not convert"),
        (GOOD + b"1,2,3,4,5,6,7,nan,0\n", "is not 9 columns of integers (could not convert"),
        (b"1,2,3,4,5,6,7,128,0\n", "has values 1 to 128, not -128 to 127"),
        (b"1,2,3,4,5,6,7,8,8\n", "has labels 8 to 8, not 0 to 7"),
        (b"", "has 0 rows"),
        (b"\x00\xff", "is not 9 columns of integers"),
    ],
)
def test_names_file_and_fix(myo, text, problem):
    path = myo / "myo-readings/_readings_right_hand/21547-2/3.txt.gz"
    path.write_bytes(gzip.compress(text))
    assert problem in refused(path, myo)


def refused(path, root):
    with pytest.raises(DataFileError) as caught:
        load_dataset("myo-readings", root)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert message.endswith("delete it and run `minaction data fetch myo-readings`")
    return message


def test_cut_gzip_file(myo):
    path = myo / "myo-readings/_readings_right_hand/21547-2/3.txt.gz"
    path.write_bytes(path.read_bytes()[:-20])
    assert "is a cut or damaged gzip file" in refused(path, myo)


def test_missing_session_names_file_and_address(myo, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    for path in myo.glob("myo-readings/*/78945-3/*"):
        path.unlink()
    with pytest.raises(DataFileError, match=r"78945-3/0.txt: missing and not downloaded from http"):
        load_dataset("myo-readings", myo)


def test_real_recordings(real_data):
    if not (real_data / "myo-readings").exists():
        pytest.skip(f"{real_data / 'myo-readings'} is not here")
    dataset = load_dataset("myo-readings", real_data)
    assert [len(split) for split in dataset.splits().values()] == [13756, 3439, 8607]
    assert dataset.fingerprint == (
        "652a473d72d293eee00ae6402d68a6e98f0127e487d14b9d2b21fc54ab86745d"
    )
