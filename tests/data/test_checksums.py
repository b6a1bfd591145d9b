from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import tarfile

import pytest

from minaction.data.checksums import contents_sha256, difference
from minaction.data.source import SourceFile, listed_files

CONTENTS = {"voices/b.wav": b"second", "voices/a.wav": b"first", "voices/deep/c.wav": b"third"}


def sha256(contents: bytes) -> str:
    return hashlib.sha256(contents).hexdigest()


def write_tar(path, names, prefix=""):
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(f"{prefix}{name}")
            member.size = len(CONTENTS[name])
            archive.addfile(member, io.BytesIO(CONTENTS[name]))
    return path


def test_contents_do_not_depend_on_packing(tmp_path):
    here = write_tar(tmp_path / "one.tar.gz", CONTENTS)
    there = write_tar(tmp_path / "two.tar.gz", sorted(CONTENTS), prefix="project-26eb9/")
    with tarfile.open(here) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    digests = {contents_sha256(path, "voices") for path in (here, there, tmp_path / "unpacked")}
    assert len(digests) == 1
    assert contents_sha256(write_tar(here, ["voices/a.wav"]), "voices") not in digests


def test_contents_are_those_of_sha256sum(tmp_path):
    write_tar(tmp_path / "one.tar.gz", CONTENTS)
    with tarfile.open(tmp_path / "one.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    command = "find voices -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    try:
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True
        )
    except subprocess.CalledProcessError:
        pytest.skip("needs sha256sum")
    assert done.stdout.split()[0] == contents_sha256(tmp_path / "one.tar.gz", "voices")


def test_archive_is_held_to_its_contents(tmp_path):
    path = write_tar(tmp_path / "voices.tar.gz", CONTENTS)
    expected = contents_sha256(path, "voices")
    row = SourceFile(name=path.name, unpacked="voices", contents_sha256=expected)
    assert difference(path, row) is None
    assert "expected " + expected in str(difference(write_tar(path, ["voices/a.wav"]), row))
    path.write_bytes(path.read_bytes()[:40])
    assert "cut or damaged archive" in str(difference(path, row))


def test_repacked_archives_are_accepted(tmp_path):
    path = tmp_path / "set.tar.gz"
    path.write_bytes(b"repacked")
    row = SourceFile(
        name=path.name, bytes=8, sha256=sha256(b"original"), repacked_sha256=(sha256(b"repacked"),)
    )
    assert difference(path, row) is None
    path.write_bytes(b"original")
    assert difference(path, row) is None
    path.write_bytes(b"another!")
    assert "expected " + sha256(b"original") in str(difference(path, row))


def test_packed_copy_is_held_to_the_plain_file(tmp_path):
    row = SourceFile(name="readings/1.txt", sha256=sha256(b"1,2\n"))
    path = tmp_path / "1.txt.gz"
    path.write_bytes(gzip.compress(b"1,2\n"))
    assert difference(path, row) is None
    path.write_bytes(gzip.compress(b"1,3\n"))
    assert "has sha256" in str(difference(path, row))
    path.write_bytes(gzip.compress(b"1,2\n")[:-6])
    assert "cut or damaged gzip" in str(difference(path, row))


def test_md5_where_nothing_better_is_published(tmp_path):
    path = tmp_path / "set.zip"
    path.write_bytes(b"abc")
    row = SourceFile(name="set.zip", md5=hashlib.md5(b"abc").hexdigest())
    assert difference(path, row) is None
    path.write_bytes(b"abd")
    assert "has md5" in str(difference(path, row))


def test_listed_files_are_in_the_format_of_sha256sum():
    files = listed_files("n-mnist.sha256", "https://example.org/{}".format)
    assert len(files) == 1100
    assert all(len(file.sha256 or "") == 64 for file in files)
    assert files[0].urls == (f"https://example.org/{files[0].name}",)
