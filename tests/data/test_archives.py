from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile

import pytest

from minaction.data.archives import read_members
from minaction.errors import DataFileError

CONTENTS = {"set/a.txt": b"first", "set/deep/b.txt": b"second", "set/c.bin": bytes(1000)}


def everything(name):
    return True


def write_tar(path, mode="w:gz", extra=()):
    with tarfile.open(path, mode) as archive:
        for name, contents in CONTENTS.items():
            member = tarfile.TarInfo(name)
            member.size = len(contents)
            archive.addfile(member, io.BytesIO(contents))
        for member in extra:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return path


def write_zip(path, extra=()):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("set")
        for name, contents in CONTENTS.items():
            archive.writestr(name, contents)
        for member in extra:
            archive.writestr(member, "target")
    return path


def write_folder(path):
    for name, contents in CONTENTS.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(contents)
    return path


@pytest.fixture(params=["tar", "tar.gz", "tar.xz", "zip", "folder"])
def packed(request, tmp_path):
    path = tmp_path / f"mnist/set.{request.param}"
    path.parent.mkdir()
    if request.param == "folder":
        return write_folder(path)
    if request.param == "zip":
        return write_zip(path)
    return write_tar(path, f"w:{request.param[4:]}")


def test_every_form_reads_the_same(packed):
    assert dict(read_members(packed, everything)) == CONTENTS
    texts = [name for name, _ in read_members(packed, lambda name: name.endswith(".txt"))]
    assert texts == ["set/a.txt", "set/deep/b.txt"]


def test_nothing_is_written(packed):
    before = sorted(packed.parent.rglob("*"))
    list(read_members(packed, everything))
    assert sorted(packed.parent.rglob("*")) == before


def refused(path):
    before = sorted(path.parent.parent.rglob("*"))
    with pytest.raises(DataFileError) as caught:
        list(read_members(path, everything))
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.endswith("delete it and run `minaction data fetch mnist`")
    assert "\n" not in message
    assert sorted(path.parent.parent.rglob("*")) == before
    return message


def member(name, kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        (member("../out.txt"), "a path out of the archive"),
        (member("set/../../out.txt"), "a path out of the archive"),
        (member("/etc/out.txt"), "an absolute path"),
        (member("C:/out.txt"), "an absolute path"),
        (member("\\out.txt"), "an absolute path"),
        (member("set\\..\\out.txt"), "a path out of the archive"),
        (member("set/link", tarfile.SYMTYPE, "/etc/passwd"), "a link or device"),
        (member("set/link", tarfile.LNKTYPE, "set/a.txt"), "a link or device"),
        (member("set/pipe", tarfile.FIFOTYPE), "a link or device"),
        (member("set/disk", tarfile.BLKTYPE), "a link or device"),
    ],
)
def test_hostile_tar(tmp_path, extra, problem):
    (tmp_path / "mnist").mkdir()
    path = write_tar(tmp_path / "mnist/set.tar.gz", extra=[extra])
    assert f"holds {extra.name!r}, {problem}: not trusted" in refused(path)


def zip_link():
    info = zipfile.ZipInfo("set/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ("../out.txt", "a path out of the archive"),
        ("/etc/out.txt", "an absolute path"),
        (zip_link(), "a link"),
    ],
)
def test_hostile_zip(tmp_path, extra, problem):
    (tmp_path / "mnist").mkdir()
    assert problem in refused(write_zip(tmp_path / "mnist/set.zip", extra=[extra]))


def test_member_that_unpacks_to_terabytes(tmp_path):
    (tmp_path / "mnist").mkdir()
    path = tmp_path / "mnist/set.tar"
    huge = tarfile.TarInfo("set/huge")
    huge.size = 1 << 42
    path.write_bytes(huge.tobuf() + bytes(1024))
    assert "a file of 4398046511104 bytes" in refused(path)


@pytest.mark.parametrize("keep", [0, 0.05, 0.3, 0.6])
@pytest.mark.parametrize("write", [write_tar, write_zip])
def test_cut_archive(tmp_path, write, keep):
    (tmp_path / "mnist").mkdir()
    path = write(tmp_path / "mnist/set.archive")
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    assert "cut or damaged archive" in refused(path)


def test_something_else(tmp_path):
    (tmp_path / "mnist").mkdir()
    path = tmp_path / "mnist/set.tar.gz"
    path.write_bytes(b"not an archive" * 100)
    assert "cut or damaged archive" in refused(path)


def test_missing_archive(tmp_path):
    with pytest.raises(DataFileError, match=r"none\.tar: cannot be read \(No such file"):
        list(read_members(tmp_path / "none.tar", everything))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads everything")
def test_unreadable_archive(tmp_path):
    path = write_tar(tmp_path / "set.tar.gz")
    path.chmod(0)
    with pytest.raises(DataFileError, match="cannot be read"):
        list(read_members(path, everything))
