from __future__ import annotations

import pytest

from minaction.data.load import load_dataset
from minaction.errors import DataFileError, UnknownNameError


def test_unknown_name():
    with pytest.raises(
        UnknownNameError, match="unknown data set 'fashion-minst'; did you mean 'fashion-mnist'"
    ):
        load_dataset("fashion-minst")


def test_digits_need_no_root():
    assert load_dataset("digits").fingerprint == load_dataset("digits", "nowhere").fingerprint


@pytest.mark.usefixtures("cache")
def test_missing_files_offline(tiny, use_source, tmp_path):
    use_source(tiny)
    with pytest.raises(DataFileError, match="put it in"):
        load_dataset("mnist", tmp_path)


@pytest.mark.usefixtures("cache")
def test_downloads_what_is_missing(tiny, use_source, server, tmp_path):
    server.serve(tiny)
    use_source(tiny, server.url)
    downloaded = load_dataset("mnist", tmp_path)
    assert downloaded.fingerprint == load_dataset("mnist", tmp_path).fingerprint
