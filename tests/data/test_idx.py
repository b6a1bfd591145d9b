from __future__ import annotations

import contextlib
import gzip

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minaction.data.idx import read_idx, read_images, read_labels
from minaction.errors import DataFileError

IMAGES = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
LABELS = np.array([0, 1, 2, 9, 4], dtype=np.uint8)


@pytest.fixture
def file(tmp_path):
    def write(contents: bytes, name="some-idx3-ubyte.gz"):
        (tmp_path / "mnist").mkdir(exist_ok=True)
        path = tmp_path / "mnist" / name
        path.write_bytes(contents)
        return path

    return write


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_reads_images_and_labels(file, idx_bytes, pack):
    assert np.array_equal(read_images(file(pack(idx_bytes(IMAGES))), (4, 3)), IMAGES)
    assert np.array_equal(read_labels(file(pack(idx_bytes(LABELS))), 10), LABELS)


def refused(action, path):
    with pytest.raises(DataFileError) as caught:
        action(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("cut", [3, 10, 30, -9, -4, -1])
def test_cut_gzip(file, idx_bytes, cut):
    path = file(gzip.compress(idx_bytes(IMAGES))[:cut])
    message = refused(lambda p: read_images(p, (4, 3)), path)
    assert "cut or damaged gzip" in message
    assert message.endswith("delete it and run `minaction data fetch mnist`")


def test_every_flipped_byte_of_the_compressed_body_is_noticed(file, idx_bytes):
    packed = gzip.compress(idx_bytes(IMAGES), mtime=0)
    for position in range(10, len(packed)):
        damaged = bytearray(packed)
        damaged[position] ^= 0x55
        refused(lambda p: read_images(p, (4, 3)), file(bytes(damaged)))


@pytest.mark.parametrize(
    ("magic", "shown"),
    [(b"\x00\x00\x08\x01", "00000801"), (b"\x00\x00\x0d\x03", "00000d03"), (b"PNG!", "504e4721")],
    ids=["labels", "floats", "another format"],
)
def test_wrong_magic(file, idx_bytes, magic, shown):
    message = refused(lambda p: read_images(p, (4, 3)), file(idx_bytes(IMAGES, magic)))
    assert f"starts with {shown}, expected 00000803" in message


@pytest.mark.parametrize(
    "contents",
    [b"", b"\x00", gzip.compress(b"", mtime=0)],
    ids=["no bytes", "one byte", "gzip of none"],
)
def test_empty_file(file, contents):
    assert "starts with" in refused(lambda p: read_labels(p, 10), file(contents))


def test_ends_within_header(file):
    message = refused(lambda p: read_images(p, (4, 3)), file(b"\x00\x00\x08\x03\x00\x00\x00\x05"))
    assert "ends within its header" in message


@pytest.mark.parametrize(("surplus", "problem"), [(-1, "59 values"), (1, "more values")])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_wrong_size(file, idx_bytes, surplus, problem, pack):
    contents = idx_bytes(IMAGES)
    contents = contents + b"x" if surplus > 0 else contents[:surplus]
    message = refused(lambda p: read_images(p, (4, 3)), file(pack(contents)))
    assert f"has {problem}, its header announces (5, 4, 3)" in message


def test_no_samples(file, idx_bytes):
    path = file(idx_bytes(np.zeros((0, 4, 3), np.uint8)))
    assert "0 values" in refused(lambda p: read_images(p, (4, 3)), path)


def test_header_that_asks_for_terabytes(file):
    path = file(b"\x00\x00\x08\x03" + b"\xff" * 12)
    assert "more than any such file" in refused(lambda p: read_images(p, (4, 3)), path)


def test_wrong_dimensions(file, idx_bytes):
    message = refused(lambda p: read_images(p, (28, 28)), file(idx_bytes(IMAGES)))
    assert "has images of (4, 3), expected (28, 28)" in message


def test_label_out_of_range(file, idx_bytes):
    message = refused(lambda p: read_labels(p, 9), file(idx_bytes(LABELS)))
    assert "has label 9 at sample 3, expected 0 to 8" in message


def test_missing_file(tmp_path):
    assert "No such file" in refused(lambda p: read_labels(p, 10), tmp_path / "none")


def test_folder_in_place_of_the_file(tmp_path):
    assert "cannot be read" in refused(lambda p: read_labels(p, 10), tmp_path)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    contents=st.binary(max_size=64),
    prefix=st.sampled_from([b"", b"\x00\x00\x08\x01", b"\x1f\x8b\x08\x00", b"\x1f\x8b"]),
)
def test_arbitrary_bytes_never_give_another_error(file, contents, prefix):
    path = file(prefix + contents)
    with contextlib.suppress(DataFileError):
        assert len(read_idx(path, dimensions=1)) + 8 == len(prefix + contents)
