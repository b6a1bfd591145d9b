"""Pickles as Python 2 wrote them: the form of WESAD's files, which Python 3 can read, not write."""

from __future__ import annotations

import struct

import numpy as np


def python2_pickle(value, protocol):
    """The pickle of dicts, texts and arrays in protocol 0 or 2, names used again as by memo."""
    writer = {0: _Text, 2: _Binary}[protocol]()
    writer.write(value)
    return b"".join((writer.start, *writer.parts, b"."))


class _Writer:
    start = b""

    def __init__(self):
        self.parts = []
        self.memo = {}

    def write(self, value):
        if isinstance(value, dict):
            self.write_dict(value)
        elif isinstance(value, np.ndarray):
            self.write_array(value)
        else:
            self.write_text(value.encode("latin-1"))

    def once(self, key, write):
        """What `write` writes, or a reference to where it was written before."""
        if key in self.memo:
            self.parts.append(self.get(self.memo[key]))
            return
        self.memo[key] = len(self.memo)
        write()
        self.parts.append(self.put(self.memo[key]))

    def name(self, module, name):
        self.once((module, name), lambda: self.parts.append(f"c{module}\n{name}\n".encode()))


class _Text(_Writer):
    def put(self, index):
        return b"p%d\n" % index

    def get(self, index):
        return b"g%d\n" % index

    def write_dict(self, value):
        self.parts.append(b"(d")
        for key, item in value.items():
            self.write(key)
            self.write(item)
            self.parts.append(b"s")

    def write_text(self, data):
        self.parts.append(b"S" + repr(data)[1:].encode() + b"\n")

    def write_array(self, array):
        self.name("numpy.core.multiarray", "_reconstruct")
        self.parts.append(b"(")
        self.name("numpy", "ndarray")
        self.parts.append(b"(I0\ntS'b'\ntR(I1\n(")
        self.parts.extend(b"I%d\n" % n for n in array.shape)
        self.parts.append(b"t")
        self.once(array.dtype, lambda: self.write_type(array.dtype))
        self.parts.append(b"I00\n")
        self.write_text(array.tobytes())
        self.parts.append(b"tb")

    def write_type(self, dtype):
        self.name("numpy", "dtype")
        order = dtype.str[0]
        self.parts.append(
            f"(S'{dtype.str[1:]}'\nI0\nI1\ntR(I3\nS'{order}'\nNNNI-1\nI-1\nI0\ntb".encode()
        )


class _Binary(_Writer):
    start = b"\x80\x02"

    def put(self, index):
        return b"q" + bytes([index])

    def get(self, index):
        return b"h" + bytes([index])

    def write_dict(self, value):
        self.parts.append(b"}(")
        for key, item in value.items():
            self.write(key)
            self.write(item)
        self.parts.append(b"u")

    def write_text(self, data):
        short = len(data) < 256
        size = b"U" + bytes([len(data)]) if short else b"T" + struct.pack("<i", len(data))
        self.parts.append(size + data)

    def write_array(self, array):
        self.name("numpy.core.multiarray", "_reconstruct")
        self.name("numpy", "ndarray")
        self.parts.append(b"K\x00\x85U\x01b\x87R(K\x01(")
        self.parts.extend(b"J" + struct.pack("<i", n) for n in array.shape)
        self.parts.append(b"t")
        self.once(array.dtype, lambda: self.write_type(array.dtype))
        self.parts.append(b"\x89")
        self.write_text(array.tobytes())
        self.parts.append(b"tb")

    def write_type(self, dtype):
        self.name("numpy", "dtype")
        self.write_text(dtype.str[1:].encode())
        self.parts.append(b"K\x00K\x01\x87R(K\x03")
        self.write_text(dtype.str[:1].encode())
        self.parts.append(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb")
