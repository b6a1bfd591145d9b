from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from minaction.data.load import load_dataset
from minaction.data.newsgroups import stripped
from minaction.data.sources import SOURCES
from minaction.errors import DataFileError

MESSAGE = """From: ann@example.org (Ann)
Subject: Re: engines

In article <1993@example.org> bob@example.org (Bob) writes:
> what do you
AB> think of engines?
bob@example.org wrote:
: or of wheels

I like wheels.
And engines.

--
Ann, who likes engines
"""


def test_stripped():
    assert stripped(MESSAGE).strip() == "I like wheels.\nAnd engines."


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("Subject: none\n\nonly one paragraph\nof two lines\n", "only one paragraph\nof two lines"),
        ("Subject: none\n\nfirst\n\nlast\n", "first"),
        ("Subject: none\n\ntext\n------\nAnn\n", "text"),
        ("Subject: none\n\n> all quoted\n", ""),
        ("Subject: none, no body", ""),
        ("Subject: dos\r\n\r\ntext\r\n", "text"),
        ("", ""),
    ],
)
def test_stripped_keeps_what_the_author_wrote(message, kept):
    assert stripped(message) == kept


WORDS = ("wheel", "engine", "orbit", "rocket", "noise")


@pytest.fixture
def news(tmp_path, monkeypatch, cache):
    """Two groups with 24 training and 4 test messages each."""
    for name in ("20newsgroups", "20newsgroups-tfidf"):
        row = replace(SOURCES[name], class_names=("rec.autos", "sci.space"))
        monkeypatch.setitem(SOURCES, name, row)
    generator = np.random.default_rng(0)
    for part, number in (("train", 24), ("test", 4)):
        for g, group in enumerate(("rec.autos", "sci.space")):
            folder = tmp_path / f"20newsgroups/20news-bydate-{part}/{group}"
            folder.mkdir(parents=True)
            for i in range(number):
                text = " ".join(generator.choice(WORDS[2 * g : 2 * g + 3], 12))
                (folder / str(50000 + i)).write_text(f"Subject: {i}\n\n{text} caf\xe9", "latin-1")
    return tmp_path


def test_views_agree(news):
    tokens, vectors = load_dataset("20newsgroups", news), load_dataset("20newsgroups-tfidf", news)
    assert [len(split) for split in tokens.splits().values()] == [43, 5, 8]
    assert tokens.train.x.dtype == torch.int64
    assert vectors.train.x.dtype == torch.float32
    for name, split in tokens.splits().items():
        assert torch.equal(split.y, vectors.splits()[name].y)
        for row, vector in zip(split.x, vectors.splits()[name].x, strict=True):
            assert set(row[row > 1].tolist()) == set((vector.nonzero().flatten() + 2).tolist())


def refused(root):
    with pytest.raises(DataFileError) as caught:
        load_dataset("20newsgroups", root)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith("run `minaction data fetch 20newsgroups`")
    return message


def test_message_that_is_empty_after_stripping_is_kept(news):
    path = news / "20newsgroups/20news-bydate-test/rec.autos/50000"
    path.write_text("Subject: none\n\n> quoted\n")
    dataset = load_dataset("20newsgroups", news)
    assert len(dataset.test) == 8
    assert (dataset.test.x[:, 0] == 1).sum() == 1


def test_only_empty_messages(news):
    for path in (news / "20newsgroups").rglob("5*"):
        path.write_text("Subject: none\n\n> quoted\n")
    assert "holds only empty messages" in refused(news)


def test_missing_part_and_group(news):
    shutil.rmtree(news / "20newsgroups/20news-bydate-test/rec.autos")
    assert "has no test sample of class 'rec.autos'" in refused(news)


def test_unknown_group(news):
    folder = news / "20newsgroups/20news-bydate-test/alt.other"
    folder.mkdir()
    (folder / "1").write_text("Subject: x\n\ntext")
    assert refused(news).startswith(f"{folder / '1'}: is of no known group")


@pytest.mark.parametrize(
    ("name", "fingerprint"),
    [
        ("20newsgroups", "4bfb6a15527c28f2d381d87dfaa5e3dee0198380eed51ae55dd948b8be468ccf"),
        ("20newsgroups-tfidf", "536bc47601ed775306c562e552692c1773d126de84a4b3f1b200b2746b7cb948"),
    ],
)
def test_real_messages(name, fingerprint, real_data):
    if not (real_data / name.removesuffix("-tfidf")).exists():
        pytest.skip("20newsgroups is not here")
    dataset = load_dataset(name, real_data)
    assert [len(split) for split in dataset.splits().values()] == [10182, 1132, 7532]
    assert dataset.fingerprint == fingerprint
    if dataset.spec.vocabulary is None:
        centroids = torch.stack([dataset.train.x[dataset.train.y == k].mean(0) for k in range(20)])
        scores = dataset.test.x @ torch.nn.functional.normalize(centroids).T
        assert (scores.argmax(1) == dataset.test.y).float().mean() > 0.6
