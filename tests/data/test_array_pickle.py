from __future__ import annotations

import contextlib
import pickle
import struct
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from python2_pickle import python2_pickle

from minaction.data.array_pickle import read_array_pickle
from minaction.errors import DataFileError

PATH = Path("data/wesad/WESAD/S2/S2.pkl")
VALUE = {
    "signal": {
        "chest": {
            "ECG": np.random.default_rng(0).normal(size=(400, 1)),
            "Temp": np.arange(7, dtype="<f4")[:, None],
        },
        "wrist": {"ACC": np.arange(6.0).reshape(2, 3)},
    },
    "label": np.arange(300, dtype="<i4"),
    "subject": "S\xe92",
}


def same(found, expected):
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            same(found[key], value)
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)
    else:
        assert found == expected


@pytest.mark.parametrize("protocol", [0, 2])
def test_reads_what_python_2_wrote(protocol):
    contents = python2_pickle(VALUE, protocol)
    same(read_array_pickle(contents, PATH), VALUE)
    # The twin that trusts the file finds the same, so the file is what NumPy would write.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        same(pickle.loads(contents, encoding="latin-1"), VALUE)


@pytest.mark.parametrize("protocol", [3, 4])
def test_reads_what_python_3_writes(protocol):
    same(read_array_pickle(pickle.dumps(VALUE, protocol), PATH), VALUE)


def test_column_major_and_foreign_byte_orders():
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3)).astype(">f8", order="F")
    same(read_array_pickle(pickle.dumps({"a": array}, 4), PATH), {"a": array})


def refused(contents):
    with pytest.raises(DataFileError) as caught:
        read_array_pickle(contents, PATH)
    message = str(caught.value)
    assert message.startswith(f"{PATH}: is no pickle of arrays (")
    assert message.endswith("; delete it and run `minaction data fetch wesad`")
    assert "\n" not in message
    return message


class _Calls:
    def __init__(self, function, *arguments):
        self.made = function, arguments

    def __reduce__(self):
        return self.made


CALLED = []


def call_me(*arguments):
    CALLED.append(arguments)


@pytest.mark.parametrize("protocol", range(6))
def test_a_hostile_pickle_calls_nothing(protocol, tmp_path):
    target = tmp_path / "written"
    for value in (_Calls(call_me, 1), _Calls(open, str(target), "w"), _Calls(eval, "1/0")):
        contents = pickle.dumps({"signal": value, "label": np.zeros(3)}, protocol)
        assert "which is no array: not trusted" in refused(contents)
    assert not CALLED
    assert not target.exists()


GLOBAL = b"cnumpy.core.multiarray\n_reconstruct\n"
DTYPE = b"cnumpy\ndtype\n"


@pytest.mark.parametrize(
    "contents",
    [
        b"cos\nsystem\n(S'touch /tmp/hostile'\ntR.",
        b"(S'touch /tmp/hostile'\nios\nsystem\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
        # What is allowed, used as no array uses it.
        b"cnumpy\nndarray\n.",
        b"cnumpy\nndarray\n(I1000000000000\ntR.",
        b"cnumpy\nndarray\n(I1\nt\x81.",
        GLOBAL + b"}S'__call__'\nS'x'\nsb.",
        GLOBAL + b"(tR.",
        GLOBAL + b"(tRI1\nb.",
        GLOBAL + b"(tR(I1\n(I4\ntI0\nI00\nS'abcd'\ntb.",
        GLOBAL + b"(tR(I1\n(I4\nt" + DTYPE + b"(S'O8'\nI0\nI1\ntRI00\nS'abcd'\ntb.",
        GLOBAL + b"(tR(I1\n(I999999999\nt" + DTYPE + b"(S'i4'\nI0\nI1\ntRI00\nS'abcd'\ntb.",
        DTYPE + b"(S'V1000'\nI0\nI1\ntR.",
        DTYPE + b"(I5\ntR.",
        DTYPE + b"(tR.",
        # Attributes of modules, persistent names, extensions.
        b"cnumpy\nndarray.__init__\n.",
        b"cbuiltins\neval\n.",
        b"Pname\n.",
        b"\x80\x02\x82\x01.",
        # Cut, empty, junk, no end.
        b"",
        b"junk",
        b"\x80\x02}",
        python2_pickle(VALUE, 2)[:-500],
        python2_pickle(VALUE, 0)[:300],
        b"\x80\x63.",
    ],
)
def test_names_file_and_fix(contents):
    refused(contents)


def test_every_cut_is_refused():
    contents = python2_pickle(VALUE, 2)
    for keep in range(0, len(contents), 97):
        refused(contents[:keep])


def test_what_is_small_stays_small():
    started = time.process_time()
    # A memo number of four thousand million; a text longer than any memory.
    assert read_array_pickle(b"\x80\x02K\x01r\xff\xff\xff\xff.", PATH) == 1
    refused(b"\x80\x04\x8d" + struct.pack("<Q", 1 << 62) + b"x.")
    # Lists of the same list, forty deep: 2 ** 40 items to whoever looks at each.
    nested = b"(lp0\n" + b"".join(b"(g%d\ng%d\nlp%d\n" % (i, i, i + 1) for i in range(40))
    assert isinstance(read_array_pickle(nested + b".", PATH), list)
    # A list that holds itself.
    refused(b"(lp0\ng0\na.")
    assert time.process_time() - started < 5


def test_flipped_bytes_give_an_error_or_plain_values():
    contents = bytearray(python2_pickle({"label": np.arange(5, dtype="<i4"), "s": "S2"}, 2))
    for position in range(len(contents)):
        for flip in (1, 16, 128):
            changed = contents.copy()
            changed[position] ^= flip
            with contextlib.suppress(DataFileError):
                found = read_array_pickle(bytes(changed), PATH)
                assert type(found).__module__ in ("builtins", "numpy")
