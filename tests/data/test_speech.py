from __future__ import annotations

import io
import tarfile
import wave
from dataclasses import replace

import numpy as np
import pytest
import torch

from minaction.data.load import load_dataset
from minaction.data.sources import SOURCES
from minaction.errors import DataFileError

SPEAKERS = ("ann", "bob", "cid")


def wav(seed, rate, samples=900):
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        noise = np.random.default_rng(seed).normal(scale=3000, size=samples)
        file.writeframes(noise.astype("<i2").tobytes())
    return stream.getvalue()


@pytest.fixture
def spoken(tmp_path, monkeypatch, cache):
    """Free Spoken Digits of three people, four recordings of each digit."""
    (file,) = SOURCES["fsdd"].files
    for name in ("fsdd", "fsdd-speaker"):
        row = replace(SOURCES[name], files=(replace(file, contents_sha256=None, urls=()),))
        monkeypatch.setitem(SOURCES, name, row)
    folder = tmp_path / "fsdd/recordings"
    folder.mkdir(parents=True)
    for digit in range(10):
        for s, speaker in enumerate(SPEAKERS):
            for take in (0, 4, 5, 9, 10, 49):
                path = folder / f"{digit}_{speaker}_{take}.wav"
                path.write_bytes(wav(digit * 1000 + s * 100 + take, 8000))
    return tmp_path


def sizes(dataset):
    return [len(split) for split in dataset.splits().values()]


def test_fsdd_splits_by_recording(spoken):
    dataset = load_dataset("fsdd", spoken)
    assert sizes(dataset) == [60, 60, 60]
    assert dataset.train.groups is None
    assert dataset.spec.shape == (32, 24)


def test_fsdd_speaker_splits_by_speaker(spoken):
    dataset = load_dataset("fsdd-speaker", spoken)
    assert sizes(dataset) == [60, 60, 60]
    assert [split.groups.unique().tolist() for split in dataset.splits().values()] == [
        [0],
        [1],
        [2],
    ]


def test_archive_reads_as_the_folder_does(spoken):
    unpacked = load_dataset("fsdd", spoken)
    folder = spoken / "fsdd/recordings"
    with tarfile.open(spoken / "fsdd/recordings.tar.gz", "w:gz") as archive:
        for path in sorted(folder.iterdir(), reverse=True):
            archive.add(path, f"free-spoken-digit-dataset-26eb9/recordings/{path.name}")
            path.unlink()
    folder.rmdir()
    assert load_dataset("fsdd", spoken).fingerprint == unpacked.fingerprint


def refused(name, root):
    with pytest.raises(DataFileError) as caught:
        load_dataset(name, root)
    message = str(caught.value)
    assert "\n" not in message
    assert f"run `minaction data fetch {SOURCES[name].folder or name}`" in message
    return message


def test_fsdd_damaged_recording(spoken):
    path = spoken / "fsdd/recordings/3_bob_5.wav"
    path.write_bytes(path.read_bytes()[:-8])
    assert refused("fsdd", spoken).startswith(f"{path}: has 896 samples")


def test_fsdd_without_a_digit(spoken):
    for path in (spoken / "fsdd/recordings").glob("7_*_[04].wav"):
        path.unlink()
    assert f"{spoken / 'fsdd'}: has no test sample of class '7'" in refused("fsdd", spoken)


def test_fsdd_without_recordings(spoken):
    for path in (spoken / "fsdd/recordings").iterdir():
        path.unlink()
    assert "holds no recordings" in refused("fsdd", spoken)


COMMANDS = ("yes", "no", "up")


@pytest.fixture
def commands(tmp_path, monkeypatch, cache):
    """Three words of the official layout, spoken by six people."""
    row = replace(SOURCES["speech-commands"], class_names=COMMANDS)
    monkeypatch.setitem(SOURCES, "speech-commands", row)
    folder = tmp_path / "speech-commands"
    lists = {"validation_list.txt": [], "testing_list.txt": []}
    for speaker in range(6):
        for w, word in enumerate(COMMANDS):
            key = f"{word}/{speaker:08x}_nohash_0.wav"
            (folder / word).mkdir(parents=True, exist_ok=True)
            (folder / key).write_bytes(wav(speaker * 10 + w, 16000))
            if speaker >= 4:
                lists[list(lists)[speaker - 4]].append(key)
    for name, keys in lists.items():
        (folder / name).write_text("\n".join(keys) + "\n")
    (folder / "_background_noise_").mkdir()
    (folder / "_background_noise_/pink_noise.wav").write_bytes(b"not read")
    (folder / "LICENSE").write_text("CC BY 4.0")
    return tmp_path


def test_speech_commands_follow_the_lists(commands):
    dataset = load_dataset("speech-commands", commands)
    assert sizes(dataset) == [12, 3, 3]
    groups = [split.groups.unique().tolist() for split in dataset.splits().values()]
    assert groups == [[0, 1, 2, 3], [4], [5]]
    assert all(split.y.bincount().min() > 0 for split in dataset.splits().values())


def test_speech_commands_are_parsed_once(commands, cache):
    first = load_dataset("speech-commands", commands)
    assert len(list((cache / ".parsed").glob("*.safetensors"))) == 1
    again = load_dataset("speech-commands", commands)
    assert again.fingerprint == first.fingerprint
    assert torch.equal(again.test.x, first.test.x)
    path = commands / "speech-commands/yes/00000005_nohash_0.wav"
    path.write_bytes(wav(99, 16000, 901))
    assert load_dataset("speech-commands", commands).fingerprint != first.fingerprint


def test_speech_commands_without_a_list(commands):
    path = commands / "speech-commands/validation_list.txt"
    path.unlink()
    assert refused("speech-commands", commands).startswith(f"{path}: missing")


def test_speech_commands_listed_but_missing(commands):
    path = commands / "speech-commands/up/00000005_nohash_0.wav"
    path.unlink()
    assert refused("speech-commands", commands).startswith(
        f"{path}: missing, but testing_list.txt lists it"
    )


def test_speech_commands_speaker_in_two_parts(commands):
    path = commands / "speech-commands/testing_list.txt"
    path.write_text(path.read_text() + "no/00000000_nohash_0.wav\n")
    assert "puts speaker 00000000 into more than one part" in refused("speech-commands", commands)


def test_speech_commands_word_absent_from_a_part(commands):
    path = commands / "speech-commands/testing_list.txt"
    path.write_text(path.read_text().replace("up/00000005_nohash_0.wav\n", ""))
    (commands / "speech-commands/up/00000005_nohash_0.wav").unlink()
    assert "has no test sample of class 'up'" in refused("speech-commands", commands)


@pytest.mark.parametrize(
    ("name", "fingerprint"),
    [
        ("fsdd", "04720cd1bf93a02a362a7f0cbae5ecbee20940e48b34ac70858ef5ede7ac5f26"),
        ("fsdd-speaker", "5407f205bb55f1f521760a57f9d5c741a96ccc9290b4dd08356d560dc4937ff3"),
    ],
)
def test_real_recordings(name, fingerprint, real_data):
    if not (real_data / "fsdd").exists():
        pytest.skip(f"{real_data / 'fsdd'} is not here")
    dataset = load_dataset(name, real_data)
    assert sizes(dataset) == ([2400, 300, 300] if name == "fsdd" else [2000, 500, 500])
    assert dataset.fingerprint == fingerprint
    centroids = torch.stack([dataset.train.x[dataset.train.y == k].mean(0) for k in range(10)])
    nearest = torch.cdist(dataset.test.x.flatten(1), centroids.flatten(1)).argmin(1)
    assert (nearest == dataset.test.y).float().mean() > 0.6
