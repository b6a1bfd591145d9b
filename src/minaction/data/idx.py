"""Reader of IDX files, the format of MNIST and its successors.

Reference:
    LeCun, Cortes, Burges, The MNIST database of handwritten digits, "File formats".
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from io import BufferedReader
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minaction.data.sources import refetch_hint
from minaction.errors import DataFileError

_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08
# Far above any data set of this format; a damaged header must not ask for terabytes.
_MAX_BYTES = 1 << 31


def read_images(path: Path, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the images of an IDX file, uint8 [n, height, width].

    Args:
        path: the file, plain or gzip.
        shape: expected height and width.

    Raises:
        DataFileError: the file is missing, damaged or holds something else.
    """
    images = read_idx(path, dimensions=3)
    if images.shape[1:] != shape:
        raise _damaged(path, f"has images of {images.shape[1:]}, expected {shape}")
    return images


def read_labels(path: Path, classes: int) -> NDArray[np.uint8]:
    """Return the labels of an IDX file, uint8 [n], all below `classes`.

    Args:
        path: the file, plain or gzip.
        classes: number of classes.

    Raises:
        DataFileError: the file is missing, damaged, holds something else or a label is too large.
    """
    labels = read_idx(path, dimensions=1)
    outside = np.flatnonzero(labels >= classes)
    if len(outside):
        first = outside[0]
        raise _damaged(
            path, f"has label {labels[first]} at sample {first}, expected 0 to {classes - 1}"
        )
    return labels


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Return the array of unsigned bytes in an IDX file, plain or gzip.

    The file is four bytes (0, 0, type, number of dimensions), one big-endian uint32 per
    dimension, then the values in C order. For gzip files the stored checksum is verified too.

    Args:
        path: the file.
        dimensions: expected number of dimensions.

    Raises:
        DataFileError: the file is missing or unreadable, the gzip stream is cut or damaged, the
            magic number is another one, or there are more or fewer values than announced.
    """
    try:
        with _open(path) as stream:
            shape = _read_header(path, stream, dimensions)
            # One byte more than announced: it finds surplus and makes gzip verify its checksum.
            values = stream.read(math.prod(shape) + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(path, f"is a cut or damaged gzip file ({error})") from error
    except OSError as error:
        raise DataFileError(path, f"cannot be read ({error.strerror})") from error
    if len(values) != math.prod(shape) or not values:
        problem = "more" if len(values) > math.prod(shape) else f"{len(values)}"
        raise _damaged(path, f"has {problem} values, its header announces {shape}")
    return np.frombuffer(values, dtype=np.uint8).reshape(shape)


def _open(path: Path) -> gzip.GzipFile | BufferedReader:
    with path.open("rb") as stream:
        is_gzip = stream.read(2) == _GZIP_MAGIC
    return gzip.open(path, "rb") if is_gzip else path.open("rb")


def _read_header(
    path: Path, stream: gzip.GzipFile | BufferedReader, dimensions: int
) -> tuple[int, ...]:
    expected = bytes([0, 0, _UNSIGNED_BYTE, dimensions])
    magic = stream.read(4)
    if magic != expected:
        raise _damaged(path, f"starts with {magic.hex() or 'nothing'}, expected {expected.hex()}")
    sizes = stream.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise _damaged(path, "ends within its header")
    shape = struct.unpack(f">{dimensions}I", sizes)
    if math.prod(shape) > _MAX_BYTES:
        raise _damaged(path, f"announces {shape} values, more than any such file holds")
    return shape


def _damaged(path: Path, problem: str) -> DataFileError:
    return DataFileError(path, f"{problem}; {refetch_hint(path)}")
