from __future__ import annotations

import gzip
import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from minaction.data.fetch import check, status
from minaction.data.load import LOADERS
from minaction.data.sources import SOURCES, refetch_hint, source_of
from minaction.errors import UnknownNameError

FILES = [
    (name, file)
    for name, source in SOURCES.items()
    for file in source.files
    if file.unpacked_sha256 is not None
]


def test_every_source_has_a_loader_and_the_other_way_round():
    assert SOURCES.keys() == LOADERS.keys()


@pytest.mark.parametrize("source", SOURCES.values(), ids=list(SOURCES))
def test_rows_are_complete(source):
    assert source.title
    assert source.licence
    assert source.citation
    assert source.homepage.startswith("http")
    assert len(set(source.class_names)) == len(source.class_names) > 1
    assert bool(source.files) != source.offline


@pytest.mark.parametrize(("name", "file"), FILES, ids=[f"{n}/{f.name}" for n, f in FILES])
def test_file_rows_agree_with_the_real_files(name, file, real_data):
    path = real_data / name / file.name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    packed = path.read_bytes()
    unpacked = gzip.decompress(packed)
    assert (len(packed), len(unpacked)) == (file.bytes, file.unpacked_bytes)
    assert hashlib.md5(packed).hexdigest() == file.md5
    assert hashlib.sha256(packed).hexdigest() == file.sha256
    assert hashlib.sha256(unpacked).hexdigest() == file.unpacked_sha256


@pytest.mark.parametrize("name", SOURCES)
def test_real_files_pass_their_check(name, real_data):
    if not status(name, real_data).available:
        pytest.skip(f"{name} is not here")
    assert [checked.problem for checked in check(name, real_data) if not checked.ok] == []


@pytest.mark.parametrize("name", SOURCES)
def test_every_download_is_held_to_a_checksum(name):
    for file in SOURCES[name].files:
        checksums = (file.sha256, file.md5, file.contents_sha256)
        # The headers of WFDB records hold the checksums of their signals, a zip archive those of
        # its files.
        own = name.startswith("mit-bih") or name == "wesad"
        assert any(checksums) or not file.urls or own
        assert all(url.startswith("http") for url in file.urls)


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown data set 'mnits'; did you mean 'mnist'"):
        source_of("mnits")


def test_unknown_name_error_pickles():
    with pytest.raises(UnknownNameError) as caught:
        source_of("nothing like it")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("data/mnist/images.gz", "mnist"),
        ("data/n-mnist/Train/3/00008.bin", "n-mnist"),
        ("mnist/fsdd/recordings/x.wav", "fsdd"),
        ("elsewhere/file", "elsewhere"),
    ],
)
def test_hint_names_the_data_set(path, name):
    assert refetch_hint(Path(path)) == f"delete it and run `minaction data fetch {name}`"


@pytest.mark.parametrize("module", ["sources", "fetch"])
def test_imports_neither_torch_nor_network_code(module):
    code = (
        f"import sys, minaction.data.{module}\n"
        "print(*{'torch', 'pooch', 'requests', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
