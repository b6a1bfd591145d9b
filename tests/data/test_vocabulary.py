from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from minaction.data.vocabulary import encode, words

TEXTS = {
    0: ["the red fox ran", "the red dog ran home", "a red fox red fox", "the fox and the dog"],
    1: ["the blue whale swam", "a blue whale blue", "the whale and the seal swam", "seal swam"],
}
DOCUMENTS = [words(text) for texts in TEXTS.values() for text in texts] + [["never", "seen"], []]
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1, 0, 1])
FITTED = np.arange(10) < 8


def test_words():
    assert words("It's 1993: the X11 window, e.g. a-b!") == ["it's", "1993", "the", "x11", "window"]


def naive_terms(documents, labels, number):
    """One document, one term, one class at a time."""
    frequency = Counter(word for document in documents for word in set(document))
    terms = sorted(word for word in frequency if frequency[word] >= 3)
    idf = {t: 1 + math.log((1 + len(documents)) / (1 + frequency[t])) for t in terms}
    mass = {(t, c): 0.0 for t in terms for c in (0, 1)}
    for document, label in zip(documents, labels, strict=True):
        counts = Counter(word for word in document if word in idf)
        weights = {t: (1 + math.log(c)) * idf[t] for t, c in counts.items()}
        norm = math.sqrt(sum(w * w for w in weights.values()))
        for t, w in weights.items():
            mass[t, label] += w / norm
    statistic = {}
    for t in terms:
        total = mass[t, 0] + mass[t, 1]
        expected = [total * sum(label == c for label in labels) / len(labels) for c in (0, 1)]
        statistic[t] = sum((mass[t, c] - expected[c]) ** 2 / expected[c] for c in (0, 1))
    return sorted(terms, key=lambda t: (-round(statistic[t], 6), t))[:number]


def test_vocabulary_equals_its_naive_twin():
    encoded = encode(DOCUMENTS, LABELS, FITTED, 6)
    terms = naive_terms(DOCUMENTS[:8], LABELS[:8].tolist(), 4)
    assert len(terms) == 4
    rows = [[terms[i - 2] for i in row if i > 1] for row in encoded.token_ids(9).tolist()]
    assert rows == [[word for word in document if word in terms] for document in DOCUMENTS]


def test_held_out_documents_have_no_say():
    other = [*DOCUMENTS[:8], ["red"] * 50, ["never"] * 50]
    first, second = encode(DOCUMENTS, LABELS, FITTED, 6), encode(other, LABELS, FITTED, 6)
    assert np.array_equal(first.token_ids(9)[:8], second.token_ids(9)[:8])
    assert np.array_equal(first.tf_idf(FITTED)[:8], second.tf_idf(FITTED)[:8])


def test_token_ids_are_cut_and_padded():
    encoded = encode(DOCUMENTS, LABELS, FITTED, 6)
    full, cut = encoded.token_ids(9), encoded.token_ids(2)
    assert full.dtype == np.int64
    assert np.array_equal(full[:, :2], cut)
    assert full.max() < 6
    for row in full:
        length = np.count_nonzero(row)
        assert (row[:length] > 0).all()


def test_documents_without_known_words():
    encoded = encode(DOCUMENTS, LABELS, FITTED, 6)
    assert encoded.token_ids(3)[8:].tolist() == [[1, 0, 0], [1, 0, 0]]
    assert not encoded.tf_idf(FITTED)[8:].any()


def test_tf_idf_equals_its_naive_twin():
    encoded = encode(DOCUMENTS, LABELS, FITTED, 6)
    ids = encoded.token_ids(9)
    x = encoded.tf_idf(FITTED)
    for row, vector in zip(ids[:8], x[:8], strict=True):
        expected = np.zeros(4)
        for term in range(4):
            count = int((row == term + 2).sum())
            documents = sum((term + 2) in other for other in ids[:8])
            if count:
                expected[term] = (1 + math.log(count)) * (1 + math.log(9 / (1 + documents)))
        expected *= 2 / np.linalg.norm(expected)
        assert np.abs(vector - expected).max() <= 1 / 4096
        assert (vector**2).mean() == pytest.approx(1, abs=1e-3)
