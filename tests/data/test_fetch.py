from __future__ import annotations

import gzip
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from hashlib import sha256

import pytest

from minaction.data.fetch import (
    DATA_VARIABLE,
    CheckedFile,
    check,
    fetch,
    fetch_files,
    roots,
    status,
)
from minaction.data.source import SourceFile
from minaction.data.sources import SOURCES
from minaction.errors import DataFileError, StorageError, UnknownNameError

pytestmark = pytest.mark.usefixtures("cache")
IMAGES = "train-images-idx3-ubyte.gz"
LABELS = "train-labels-idx1-ubyte.gz"


def refused(*args, error=DataFileError):
    with pytest.raises(error) as caught:
        fetch(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Where files are looked for


def test_roots_in_order(tmp_path, cache, monkeypatch):
    assert roots() == (cache,)
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "env"))
    assert roots("~") == (tmp_path.home(), tmp_path / "env", cache)
    monkeypatch.setenv(DATA_VARIABLE, "")
    assert roots() == (cache,)


def test_lookup_order(tiny, use_source, tmp_path, cache, monkeypatch):
    use_source(tiny)
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "env"))
    in_cache = tiny.write(cache / "mnist")
    assert fetch("mnist", tmp_path / "given") == in_cache
    in_env = tiny.write(tmp_path / "env" / "mnist")
    assert fetch("mnist", tmp_path / "given") == in_env
    in_given = tiny.write(tmp_path / "given" / "mnist")
    assert fetch("mnist", tmp_path / "given") == in_given
    assert fetch("mnist") == in_env


def test_incomplete_folder_is_passed_over(tiny, use_source, tmp_path, cache):
    use_source(tiny)
    tiny.write(tmp_path / "given" / "mnist", [IMAGES])
    complete = tiny.write(cache / "mnist")
    assert fetch("mnist", tmp_path / "given") == complete


def test_decompressed_files_are_accepted(tiny, use_source, cache):
    use_source(tiny)
    folder = tiny.write(cache / "mnist")
    (folder / LABELS).unlink()
    plain = folder / LABELS.removesuffix(".gz")
    plain.write_bytes(gzip.decompress(tiny.contents[LABELS]))
    assert fetch_files("mnist")[LABELS] == plain
    plain.write_bytes(plain.read_bytes()[:-1] + b"\x00")
    assert "has sha256" in refused("mnist")


def nested_source(server):
    """A data set of files in folders, and a view of it under another name."""
    contents = {f"people/{i}/readings.txt": f"{i}\n".encode() for i in range(8)}
    files = tuple(
        SourceFile(name=name, urls=(server.url + name,), sha256=sha256(body).hexdigest())
        for name, body in contents.items()
    )
    server.bodies.update({f"/{name}": body for name, body in contents.items()})
    return replace(SOURCES["mnist"], files=files)


def test_files_in_folders_and_views_of_the_same_files(server, cache, monkeypatch):
    source = nested_source(server)
    monkeypatch.setitem(SOURCES, "mnist", source)
    monkeypatch.setitem(SOURCES, "mnist-view", replace(source, folder="mnist"))
    said = []
    assert fetch("mnist", announce=said.append) == cache / "mnist"
    assert said[0] == f"downloading {server.url}people/0/readings.txt"
    assert (cache / "mnist/people/7/readings.txt").read_bytes() == b"7\n"
    assert fetch("mnist-view") == cache / "mnist"
    assert set(server.requests.values()) == {1}
    (cache / "mnist/people/3/readings.txt").write_bytes(b"x")
    assert refused("mnist").endswith("delete it and run `minaction data fetch mnist`")


def test_gzipped_copies_stand_in_for_plain_files(server, cache, monkeypatch):
    monkeypatch.setitem(SOURCES, "mnist", nested_source(server))
    fetch("mnist")
    path = cache / "mnist/people/3/readings.txt"
    packed = path.with_name("readings.txt.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert fetch_files("mnist")["people/3/readings.txt"] == packed
    assert set(server.requests.values()) == {1}


def test_many_missing_files_are_counted_not_listed(server, monkeypatch):
    monkeypatch.setitem(SOURCES, "mnist", nested_source(server))
    server.bodies.clear()
    message = refused("mnist")
    assert message.endswith("people/5/readings.txt, 2 more")


def test_unpacked_archive_is_not_downloaded(tmp_path, monkeypatch):
    row = SourceFile(name="set.zip", unpacked="Train")
    monkeypatch.setitem(SOURCES, "mnist", replace(SOURCES["mnist"], files=(row,)))
    assert "set.zip: missing and not downloaded from nowhere" in refused("mnist", tmp_path)
    (tmp_path / "mnist/Train").mkdir(parents=True)
    assert fetch_files("mnist", tmp_path) == {"set.zip": tmp_path / "mnist"}


def test_data_that_come_with_a_package():
    assert fetch("digits") is None
    assert check("digits") == []
    assert status("digits").available
    assert status("digits").folder is None


@pytest.mark.parametrize("function", [fetch, check, status])
def test_unknown_name(function):
    with pytest.raises(UnknownNameError, match="did you mean 'digits'"):
        function("digit")


def test_status(tiny, use_source, cache):
    use_source(tiny)
    assert not status("mnist").available
    folder = tiny.write(cache / "mnist")
    assert (status("mnist").available, status("mnist").folder) == (True, folder)


# Checks


def test_check_of_good_files(tiny, use_source, cache):
    use_source(tiny)
    folder = tiny.write(cache / "mnist")
    expected = [CheckedFile(path=folder / name, ok=True, problem=None) for name in tiny.contents]
    assert check("mnist") == expected


def test_check_names_every_problem(tiny, use_source, cache):
    use_source(tiny)
    folder = tiny.write(cache / "mnist")
    (folder / IMAGES).write_bytes(tiny.contents[IMAGES][:-1])
    (folder / LABELS).write_bytes(bytes(len(tiny.contents[LABELS])))
    (folder / "t10k-images-idx3-ubyte.gz").unlink()
    cut, changed, missing, good = (checked.problem for checked in check("mnist"))
    size = len(tiny.contents[IMAGES])
    fix = "run `minaction data fetch mnist`"
    assert cut == f"has {size - 1} bytes, expected {size}; delete it and {fix}"
    assert changed.startswith("has sha256 ")
    assert changed.endswith(f"; delete it and {fix}")
    assert missing == f"missing; {fix}"
    assert good is None


@pytest.mark.parametrize("damage", [lambda b: b[:-5], lambda b: bytes(len(b))])
def test_damaged_file_is_refused_and_left_alone(tiny, use_source, server, cache, damage):
    server.serve(tiny)
    use_source(tiny, server.url)
    path = tiny.write(cache / "mnist") / IMAGES
    path.write_bytes(damage(tiny.contents[IMAGES]))
    assert refused("mnist").startswith(f"{path}: has ")
    assert path.read_bytes() == damage(tiny.contents[IMAGES])
    assert not server.requests


# Downloads


def test_download_goes_to_the_cache_once(tiny, use_source, server, cache):
    server.serve(tiny)
    use_source(tiny, server.url)
    said = []
    assert fetch("mnist", announce=said.append) == cache / "mnist"
    assert fetch("mnist", announce=said.append) == cache / "mnist"
    assert all(file.ok for file in check("mnist"))
    assert len(said) == 4
    assert said[0] == f"downloading {server.url}{IMAGES} (0.0 MB)"
    assert set(server.requests.values()) == {1}


def test_download_goes_to_the_named_folder(tiny, use_source, server, tmp_path, cache):
    server.serve(tiny)
    use_source(tiny, server.url)
    assert fetch("mnist", tmp_path / "given") == tmp_path / "given" / "mnist"
    assert not (cache / "mnist").exists()


def test_only_missing_files_are_downloaded(tiny, use_source, server, cache):
    server.serve(tiny)
    use_source(tiny, server.url)
    tiny.write(cache / "mnist", [IMAGES, "t10k-images-idx3-ubyte.gz"])
    fetch("mnist")
    assert sorted(server.requests) == ["/t10k-labels-idx1-ubyte.gz", f"/{LABELS}"]


def test_next_address_is_tried(tiny, use_source, server, monkeypatch):
    server.serve(tiny)
    source = use_source(tiny)
    files = tuple(
        replace(file, urls=(*file.urls, server.url + "gone", server.url + file.name))
        for file in source.files
    )
    monkeypatch.setitem(SOURCES, "mnist", replace(source, files=files))
    assert all(file.ok for file in check("mnist")) is False
    assert fetch("mnist") is not None


def test_offline_error_names_url_folder_and_file(tiny, use_source, cache):
    use_source(tiny)
    message = refused("mnist")
    folder = cache / "mnist"
    assert message.startswith(f"{folder / IMAGES}: missing")
    assert f"http://127.0.0.1:9/{IMAGES} (ConnectionError)" in message
    assert f"get {IMAGES} another way and put it in {folder}, and likewise {LABELS}" in message


def test_doing_what_the_offline_error_says_is_enough(tiny, use_source, tmp_path, monkeypatch):
    use_source(tiny)
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "env"))
    tiny.write(tmp_path / "env" / "mnist", [IMAGES, LABELS, "t10k-images-idx3-ubyte.gz"])
    with pytest.raises(DataFileError) as caught:
        fetch("mnist", tmp_path / "given")
    tiny.write(caught.value.path.parent, [caught.value.path.name])
    assert fetch("mnist", tmp_path / "given") == tmp_path / "env" / "mnist"


def half(server, name, body):
    server.bodies[f"/{name}"] = body[: len(body) // 2]
    server.announced[f"/{name}"] = len(body)
    return "ChunkedEncodingError"


def short_without_notice(server, name, body):
    server.bodies[f"/{name}"] = body[: len(body) // 2]
    return f"has {len(body) // 2} bytes, expected {len(body)}"


def wrong_bytes(server, name, body):
    server.bodies[f"/{name}"] = body[:-1] + bytes([body[-1] ^ 1])
    return "has sha256"


def not_found(server, name, body):
    del server.bodies[f"/{name}"]
    return "HTTP 404"


@pytest.mark.parametrize("fault", [half, short_without_notice, wrong_bytes, not_found])
def test_failed_download_leaves_nothing_and_the_next_one_succeeds(
    tiny, use_source, server, cache, fault
):
    server.serve(tiny)
    use_source(tiny, server.url)
    assert fault(server, LABELS, tiny.contents[LABELS]) in refused("mnist")
    folder = cache / "mnist"
    assert sorted(path.name for path in folder.glob("[!.]*")) == [IMAGES]
    assert (folder / IMAGES).read_bytes() == tiny.contents[IMAGES]
    server.announced.clear()
    server.serve(tiny)
    assert fetch("mnist") == folder
    assert server.requests[f"/{IMAGES}"] == 1


FETCH_ONE = """
import sys
from minaction.data.fetch import fetch
from minaction.data.sources import SOURCES
from minaction.errors import StorageError
from dataclasses import replace
url, folder = sys.argv[1:]
file = SOURCES["mnist"].files[0]
SOURCES["mnist"] = replace(SOURCES["mnist"], files=(replace(file, urls=(url,)),))
try:
    fetch("mnist", folder)
except StorageError as error:
    print(error)
"""

FULL_DISK = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
"""


def test_killed_download_leaves_no_file_and_the_next_one_succeeds(
    tiny, use_source, server, tmp_path
):
    server.serve(tiny)
    server.hang = threading.Event()
    child = subprocess.Popen([sys.executable, "-c", FETCH_ONE, server.url + IMAGES, tmp_path])
    try:
        assert server.half_sent.wait(60)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not (tmp_path / "mnist" / IMAGES).exists()
    server.hang.set()
    server.hang = None
    use_source(tiny, server.url)
    assert all(file.ok for file in check("mnist", fetch("mnist", tmp_path).parent))


@pytest.mark.skipif(
    sys.platform == "win32", reason="no file size limits to stand in for a full disk"
)
def test_full_disk(tiny, server, tmp_path):
    server.serve(tiny)
    command = [sys.executable, "-c", FULL_DISK + FETCH_ONE, server.url + IMAGES, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{tmp_path / 'mnist'}: cannot be written (")
    assert done.stdout.count("\n") == 1
    assert not list((tmp_path / "mnist").glob("[!.]*"))


def test_two_at_once_download_once(tiny, use_source, server):
    server.serve(tiny)
    use_source(tiny, server.url)
    folders = []
    threads = [threading.Thread(target=lambda: folders.append(fetch("mnist"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(folders) == 4
    assert set(server.requests.values()) == {1}


def test_folder_that_cannot_be_written(tiny, use_source, tmp_path):
    use_source(tiny)
    (tmp_path / "file").write_text("not a folder")
    message = refused("mnist", tmp_path / "file", error=StorageError)
    assert message.startswith(f"{tmp_path / 'file' / 'mnist'}: cannot be written (")
