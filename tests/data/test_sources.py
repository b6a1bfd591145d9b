from __future__ import annotations

import gzip
import hashlib
import pickle
import subprocess
import sys

import pytest

from minaction.data.load import LOADERS
from minaction.data.sources import SOURCES, source_of
from minaction.errors import UnknownNameError

FILES = [(name, file) for name, source in SOURCES.items() for file in source.files]


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


@pytest.mark.parametrize(("name", "file"), FILES, ids=[f"{n}/{f.name}" for n, f in FILES])
def test_every_file_has_an_address(name, file):
    assert file.urls
    assert all(url.startswith("http") for url in file.urls)


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown data set 'mnits'; did you mean 'mnist'"):
        source_of("mnits")


def test_unknown_name_error_pickles():
    with pytest.raises(UnknownNameError) as caught:
        source_of("nothing like it")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("module", ["sources", "fetch"])
def test_imports_neither_torch_nor_network_code(module):
    code = (
        f"import sys, minaction.data.{module}\n"
        "print(*{'torch', 'pooch', 'requests', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
