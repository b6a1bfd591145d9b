from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from minaction.data.dataset import Dataset, DataSpec, Split, fingerprint_of
from minaction.data.load import load_dataset
from minaction.data.resident import attach, publish, resident
from minaction.errors import DataFileError, StorageError, UnknownNameError

SPEC = DataSpec(name="toy", modality="speech", shape=(2, 5), classes=2, class_names=("a", "b"))
linux_only = pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's /proc/self/smaps_rollup"
)


def toy(n=8, spec=SPEC, groups=None):
    generator = torch.Generator().manual_seed(0)

    def split():
        x = torch.randn(n, *spec.shape, generator=generator)
        return Split(x=x, y=torch.arange(n) % 2, groups=groups)

    return Dataset.of(train=split(), validation=split(), test=split(), spec=spec)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "toy.safetensors"


def test_attached_equals_published(path):
    dataset = toy(groups=torch.arange(8))
    publish(dataset, path)
    attached = attach(path)
    assert attached.spec == dataset.spec
    assert attached.fingerprint == dataset.fingerprint
    assert fingerprint_of(attached.spec, attached.splits()) == dataset.fingerprint
    assert list(path.parent.iterdir()) == [path]


def test_tokens_are_attached_as_they_were(path):
    split = Split(x=torch.tensor([[1, 4, 0], [2, 0, 0]]), y=torch.arange(2))
    spec = replace(SPEC, modality="text", shape=(3,), vocabulary=5)
    dataset = Dataset.of(train=split, validation=split, test=split, spec=spec)
    publish(dataset, path)
    attached = attach(path)
    assert attached.spec == spec
    assert torch.equal(attached.train.x, split.x)
    assert fingerprint_of(attached.spec, attached.splits()) == dataset.fingerprint


def test_a_write_stays_in_the_process(path):
    publish(toy(), path)
    before = path.read_bytes()
    first, second = attach(path), attach(path)
    first.train.x.zero_()
    assert first.train.x.abs().sum() == 0
    assert second.train.x.abs().sum() > 0
    assert path.read_bytes() == before


def test_attached_data_outlive_the_file(path):
    dataset = toy()
    publish(dataset, path)
    attached = attach(path)
    path.unlink()
    assert torch.equal(attached.test.x, dataset.test.x)


def test_attached_data_pickle_without_the_rest_of_the_file(path):
    publish(toy(20_000), path)
    attached = attach(path)
    assert len(pickle.dumps(attached)) < 1.1 * path.stat().st_size
    assert pickle.loads(pickle.dumps(attached)).fingerprint == attached.fingerprint


def test_publish_replaces_and_failure_keeps_the_old(path, tmp_path):
    publish(toy(8), path)
    publish(toy(10), path)
    assert len(attach(path).train) == 10
    with pytest.raises(StorageError, match="cannot be written"):
        publish(toy(), tmp_path / "none" / "toy.safetensors")


FULL_DISK = """
import resource, sys, torch
from minaction.data.dataset import Dataset, DataSpec, Split
from minaction.data.resident import publish
from minaction.errors import StorageError
spec = DataSpec(name="toy", modality="text", shape=(1000,), classes=1, class_names=("a",))
split = Split(x=torch.ones(1000, 1000), y=torch.zeros(1000, dtype=torch.int64))
dataset = Dataset.of(train=split, validation=split, test=split, spec=spec)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    publish(dataset, sys.argv[1])
except StorageError as error:
    print(error)
"""


@linux_only
def test_refused_write_keeps_the_old_file(path):
    publish(toy(), path)
    before = path.read_bytes()
    command = [sys.executable, "-c", FULL_DISK, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{path}: cannot be written (")
    assert done.stdout.count("\n") == 1
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


# Damaged files


def damage_header(path):
    path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])


def cut(path):
    path.write_bytes(path.read_bytes()[:-8])


def empty(path):
    path.write_bytes(b"")


def rewrite(path, **changed):
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    metadata = {
        "format": "minaction-dataset-1",
        "spec": json.dumps({**vars(SPEC), "shape": [2, 5]}),
        "fingerprint": "0",
    }
    save_file(tensors, path, {**metadata, **changed})


@pytest.mark.parametrize(
    "damage",
    [
        damage_header,
        cut,
        empty,
        lambda path: path.write_bytes(os.urandom(200)),
        lambda path: save_file({"a": torch.zeros(1)}, path),
        lambda path: rewrite(path, format="another"),
        lambda path: rewrite(path, spec="{"),
        lambda path: rewrite(path, spec="[]"),
        lambda path: rewrite(path, spec="{}"),
        lambda path: rewrite(path, spec=json.dumps({**vars(SPEC), "shape": [7]})),
        lambda path: rewrite(path, spec=json.dumps({**vars(SPEC), "shape": ["x"]})),
    ],
)
def test_damaged_file(path, damage):
    publish(toy(), path)
    damage(path)
    with pytest.raises(DataFileError) as caught:
        attach(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith("publish it again")
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(path):
    for missing in (path, path.parent):
        with pytest.raises(DataFileError, match="publish it again"):
            attach(missing)


# Sharing between processes

WORKER = """
import re, sys
from pathlib import Path
import torch
from minaction.data.resident import attach


def memory(*names):
    rollup = Path("/proc/self/smaps_rollup").read_text()
    return sum(1024 * int(re.search(rf"^{name}:\\s+(\\d+)", rollup, re.M)[1]) for name in names)


def private():
    return memory("Private_Clean", "Private_Dirty")


torch.zeros(9).sum().item()
before, resident_before = private(), memory("Rss")
dataset = attach(sys.argv[1])
total = sum(split.x.sum().item() + split.y.sum().item() for split in dataset.splits().values())
print("attached", flush=True)
sys.stdin.readline()
print(private() - before, memory("Rss") - resident_before, flush=True)
sys.stdin.readline()
"""


def start_worker(path):
    command = [sys.executable, "-c", WORKER, str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def assert_two_processes_share(path):
    size = path.stat().st_size
    workers = [start_worker(path) for _ in range(2)]
    try:
        assert [worker.stdout.readline() for worker in workers] == ["attached\n"] * 2
        for worker in workers:
            worker.stdin.write("measure\n")
            worker.stdin.flush()
            private, resident_bytes = map(int, worker.stdout.readline().split())
            assert resident_bytes > 0.9 * size, "the data were not read"
            assert private < 0.1 * size, "the data were copied"
    finally:
        for worker in workers:
            worker.communicate("end\n")


@linux_only
def test_two_processes_share_the_pages(path):
    publish(toy(400_000), path)
    assert path.stat().st_size > 50e6
    assert_two_processes_share(path)


@linux_only
def test_two_processes_share_the_pages_of_mnist(real_data, tmp_path):
    if not (real_data / "mnist").exists():
        pytest.skip(f"{real_data / 'mnist'} is not here")
    dataset = resident("mnist", real_data, tmp_path)
    assert len(dataset.train) == 54_000
    assert_two_processes_share(tmp_path / "mnist.safetensors")


RESIDENT = """
import sys
import minaction.data.resident as room
load = room.load_dataset
def counted(name, root):
    print("loaded", flush=True)
    return load(name, root)
room.load_dataset = counted
print(room.resident("digits", None, sys.argv[1]).fingerprint, flush=True)
"""


def test_only_the_first_process_loads(tmp_path):
    folder = tmp_path / "new"
    command = [sys.executable, "-c", RESIDENT, str(folder)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [line for worker in workers for line in worker.communicate()[0].split()]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert said.count("loaded") == 1
    assert said.count(load_dataset("digits").fingerprint) == 3
    assert not list(folder.glob("*.part"))


def test_resident_attaches_what_is_published(tmp_path):
    other = replace(load_dataset("digits"), fingerprint="published before")
    publish(other, tmp_path / "digits.safetensors")
    assert resident("digits", None, tmp_path).fingerprint == "published before"


def test_resident_refuses_unknown_names_before_it_writes(tmp_path):
    with pytest.raises(UnknownNameError):
        resident("digit", None, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_resident_in_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="cannot be written"):
        resident("digits", None, tmp_path / "file" / "new")
