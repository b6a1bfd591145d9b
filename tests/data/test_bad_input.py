"""What any data set must refuse in one line, whatever it is of; the rest is beside each loader."""

from __future__ import annotations

import io
import tarfile
import zipfile

import pytest

from minaction.data.load import load_dataset
from minaction.data.sources import SOURCES
from minaction.errors import DataFileError

DOWNLOADED = [name for name, source in SOURCES.items() if not source.offline]
OF_SEVERAL_FILES = [name for name in DOWNLOADED if len(SOURCES[name].files) > 1]


@pytest.fixture
def root(tmp_path, cache, monkeypatch):
    """A data folder of a machine without a network; everything beside it must stay as it is."""
    for variable in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    return tmp_path / "data"


def refused(name, root):
    outside = root.parent
    before = set(outside.rglob("*"))
    with pytest.raises(DataFileError) as caught:
        load_dataset(name, root)
    # What is parsed is locked in the user's cache; a download is locked in its folder.
    new = [p.relative_to(outside) for p in set(outside.rglob("*")) - before]
    written = [p for p in new if "cache" not in p.parts and p.suffix != ".lock"]
    assert [p for p in written if p.name != ".lock" and "data" not in p.parts] == []
    assert [p for p in written if (outside / p).is_file() and p.name != ".lock"] == []
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", DOWNLOADED)
def test_missing_folder(name, root):
    source = SOURCES[name]
    folder = root / (source.folder or name)
    message = refused(name, root)
    assert message.startswith(f"{folder / source.files[0].name}: missing and not downloaded from ")
    assert f"get {source.files[0].name} another way and put it in {folder}" in message


@pytest.mark.parametrize("name", OF_SEVERAL_FILES)
def test_partial_folder(name, root):
    source = SOURCES[name]
    folder = root / (source.folder or name)
    first, second, *_ = source.files
    (folder / first.name).parent.mkdir(parents=True)
    (folder / first.name).write_bytes(b"")
    message = refused(name, root)
    assert message.startswith(f"{folder / second.name}: missing and not downloaded from ")
    assert f"put it in {folder}" in message


def link():
    member = tarfile.TarInfo("recordings/link")
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return member


HOSTILE = {
    "parent": tarfile.TarInfo("../outside"),
    "absolute": tarfile.TarInfo("/tmp/outside"),
    "link": link(),
}


@pytest.mark.parametrize("member", HOSTILE.values(), ids=list(HOSTILE))
@pytest.mark.parametrize("name", ["20newsgroups", "fsdd", "speech-commands"])
def test_hostile_tar(name, member, root, unchecked):
    unchecked(name)
    path = root / name / SOURCES[name].files[0].name
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(member, io.BytesIO())
    assert f"holds {member.name!r}, a" in refused(name, root)
    assert refused(name, root).endswith(
        f"not trusted; delete it and run `minaction data fetch {name}`"
    )


@pytest.mark.parametrize("member", ["../outside", "/tmp/outside"])
@pytest.mark.parametrize("name", ["n-mnist-full", "shd", "wesad"])
def test_hostile_zip(name, member, root, unchecked):
    unchecked(name)
    for file in SOURCES[name].files:
        path = root / name / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(member, b"")
    message = refused(name, root)
    assert message.startswith(f"{root / name / SOURCES[name].files[0].name}: holds {member!r}, a")
    assert message.endswith(f"not trusted; delete it and run `minaction data fetch {name}`")
