"""Small IDX data sets, a real local web server, and the real data where they are installed."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from minaction.data.fetch import DATA_VARIABLE
from minaction.data.source import Source, SourceFile
from minaction.data.sources import SOURCES

CLOSED_PORT = "http://127.0.0.1:9/"


def pack_idx(array: np.ndarray, magic: bytes | None = None) -> bytes:
    header = magic if magic is not None else bytes([0, 0, 8, array.ndim])
    return header + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()


@pytest.fixture
def idx_bytes():
    return pack_idx


@dataclass
class TinyData:
    """A data set with MNIST's file layout, small enough for every test."""

    contents: dict[str, bytes]

    def source(self, base_url: str) -> Source:
        files = tuple(
            SourceFile(
                name=name,
                urls=(base_url + name,),
                bytes=len(packed),
                md5=hashlib.md5(packed).hexdigest(),
                sha256=hashlib.sha256(packed).hexdigest(),
                unpacked_bytes=len(gzip.decompress(packed)),
                unpacked_sha256=hashlib.sha256(gzip.decompress(packed)).hexdigest(),
            )
            for name, packed in self.contents.items()
        )
        return replace(SOURCES["mnist"], shape=(1, 4, 4), files=files)

    def write(self, folder: Path, names: list[str] | None = None) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names if names is not None else self.contents:
            (folder / name).write_bytes(self.contents[name])
        return folder


def tiny_contents(**changed: np.ndarray) -> dict[str, bytes]:
    generator = np.random.default_rng(0)
    arrays = {
        "train-images-idx3-ubyte": generator.integers(0, 256, (200, 4, 4)),
        "train-labels-idx1-ubyte": np.arange(200) % 10,
        "t10k-images-idx3-ubyte": generator.integers(0, 256, (50, 4, 4)),
        "t10k-labels-idx1-ubyte": np.arange(50) % 10,
    }
    arrays.update({name.replace("_", "-"): array for name, array in changed.items()})
    return {f"{name}.gz": gzip.compress(pack_idx(a), mtime=0) for name, a in arrays.items()}


@pytest.fixture
def tiny():
    return TinyData(tiny_contents())


@pytest.fixture
def tiny_with():
    return lambda **changed: TinyData(tiny_contents(**changed))


@pytest.fixture
def use_source(monkeypatch):
    """Replace MNIST in the table by a tiny data set at the given address."""

    def use(data: TinyData, base_url: str = CLOSED_PORT) -> Source:
        source = data.source(base_url)
        monkeypatch.setitem(SOURCES, "mnist", source)
        return source

    return use


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty user cache, no $MINACTION_DATA and no proxy; returns the cache's root."""
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache" / "minaction"


@dataclass
class Server:
    """Answers of a web server, by path; a body may end before the announced length."""

    url: str
    bodies: dict[str, bytes] = field(default_factory=dict)
    announced: dict[str, int] = field(default_factory=dict)
    hang: threading.Event | None = None
    requests: Counter[str] = field(default_factory=Counter)
    half_sent: threading.Event = field(default_factory=threading.Event)

    def serve(self, data: TinyData) -> None:
        self.bodies.update({f"/{name}": body for name, body in data.contents.items()})


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, server: Server, *args, **kwargs):
        self.answers = server
        super().__init__(*args, **kwargs)

    def do_GET(self):
        self.answers.requests[self.path] += 1
        body = self.answers.bodies.get(self.path)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(self.answers.announced.get(self.path, len(body))))
        self.end_headers()
        if self.answers.hang is not None:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.answers.half_sent.set()
            self.answers.hang.wait(60)
            return
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    answers = Server(url="")
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, answers))
    answers.url = f"http://127.0.0.1:{http.server_port}/"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield answers
    if answers.hang is not None:
        answers.hang.set()
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def real_data():
    """Return the folder of the real data sets, or skip."""
    root = os.environ.get(DATA_VARIABLE)
    if not root:
        pytest.skip(f"${DATA_VARIABLE} is not set: no real data here")
    return Path(root)


@pytest.fixture
def unchecked(monkeypatch, cache):
    """Take the checksums of a data set off the table, and other fields as given."""

    def take_off(name: str, **changed: object) -> None:
        source = replace(SOURCES[name], **changed)
        rows = tuple(replace(f, bytes=None, md5=None, sha256=None) for f in source.files)
        monkeypatch.setitem(SOURCES, name, replace(source, files=rows))

    return take_off
