"""From documents to token ids or TF-IDF vectors, with a vocabulary from the training part."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from minaction.data.parsed import Arrays
from minaction.data.signals import settled

PADDING, UNKNOWN = 0, 1
_FIRST_TERM = 2
# A term of one or two documents says which documents they are, not what they are about.
_MIN_DOCUMENTS = 3
_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """Documents as the ids of their known words, one after the other.

    Attributes:
        ids: token ids of all documents, int64 [words].
        lengths: number of ids of each document, int64 [n].
        vocabulary: number of token ids, padding and unknown included.
    """

    ids: NDArray[np.int64]
    lengths: NDArray[np.int64]
    vocabulary: int

    def arrays(self) -> Arrays:
        """Return the parts as arrays, to be kept."""
        return {"ids": self.ids, "lengths": self.lengths}

    def token_ids(self, length: int) -> NDArray[np.int64]:
        """Return the first `length` known words of every document, int64 [n, length].

        Shorter documents are filled up with 0. A document without any known word is the one
        token 1, "unknown", so that every sample has something to attend to.
        """
        rows, columns = self._positions()
        kept = columns < length
        x = np.full((len(self.lengths), length), PADDING, dtype=np.int64)
        x[rows[kept], columns[kept]] = self.ids[kept]
        x[self.lengths == 0, 0] = UNKNOWN
        return x

    def tf_idf(self, fitted: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return one TF-IDF vector per document, float32 [n, terms].

        For a term that occurs c times in the document and in d of the n fitted ones,
        (1 + ln c) (1 + ln((1 + n) / (1 + d))), and 0 where c = 0; each vector is then scaled to
        mean square 1, as standardised pixels have. A document without any known word is 0.

        Args:
            fitted: mask of the documents that document frequencies are counted in.

        Reference:
            Salton, Buckley, Information Processing & Management 24(5):513-523, 1988.
        """
        rows, _ = self._positions()
        terms = self.vocabulary - _FIRST_TERM
        cells = rows * terms + self.ids - _FIRST_TERM
        found, counts = np.unique(cells, return_counts=True)
        row, term = np.divmod(found, terms)
        documents = np.bincount(term[fitted[row]], minlength=terms)
        weights = (1 + np.log(counts)) * _idf(int(fitted.sum()), documents)[term]
        norms = np.sqrt(np.bincount(row, weights**2, minlength=len(self.lengths)))
        x = np.zeros((len(self.lengths), terms), dtype=np.float32)
        x[row, term] = settled(weights / norms[row] * math.sqrt(terms))
        return x

    def _positions(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rows = np.repeat(np.arange(len(self.lengths)), self.lengths)
        starts = np.cumsum(self.lengths) - self.lengths
        return rows, np.arange(len(rows)) - starts[rows]


def words(text: str) -> list[str]:
    """Return the words of a text: lower-case runs of letters and digits, two or more of them."""
    return [word for word in _WORD.findall(text.lower()) if len(word) > 1]


def encode(
    documents: Sequence[Sequence[str]],
    labels: NDArray[np.int64],
    fitted: NDArray[np.bool_],
    vocabulary: int,
) -> Encoded:
    """Choose a vocabulary on the fitted documents and encode all documents with it.

    Chosen are the `vocabulary - 2` terms that are spread most unevenly over the classes: those of
    the largest chi-squared sum_c (O_c - E_c)^2 / E_c, where O_c is the term's TF-IDF weight in
    class c (each document's weights scaled to unit length) and E_c what the class's share of
    documents would give it; among terms of at least three fitted documents. Other words are left
    out.

    Args:
        documents: the words of each document.
        labels: class of each document [n].
        fitted: mask [n] of the training documents.
        vocabulary: number of token ids, padding and unknown included.

    Reference:
        Yang, Pedersen, A comparative study on feature selection in text categorization,
        ICML 1997.
    """
    training = [Counter(documents[i]) for i in np.flatnonzero(fitted).tolist()]
    terms = _informative(training, labels[fitted], vocabulary - _FIRST_TERM)
    ids = {term: i for i, term in enumerate(terms, start=_FIRST_TERM)}
    known = [[ids[word] for word in document if word in ids] for document in documents]
    lengths = np.array([len(row) for row in known], dtype=np.int64)
    flat = np.fromiter(chain.from_iterable(known), dtype=np.int64, count=int(lengths.sum()))
    return Encoded(ids=flat, lengths=lengths, vocabulary=vocabulary)


def _informative(
    documents: Sequence[Counter[str]], labels: NDArray[np.int64], number: int
) -> list[str]:
    frequency = Counter(chain.from_iterable(documents))
    terms = sorted(term for term, count in frequency.items() if count >= _MIN_DOCUMENTS)
    index = {term: i for i, term in enumerate(terms)}
    idf = _idf(len(documents), np.array([frequency[term] for term in terms]))
    mass = np.zeros((labels.max() + 1, len(terms)))
    for label, document in zip(labels.tolist(), documents, strict=True):
        found = [index[word] for word in document if word in index]
        counts = np.array([document[terms[i]] for i in found])
        weights = (1 + np.log(counts)) * idf[found]
        mass[label, found] += weights / max(float(np.linalg.norm(weights)), 1e-12)
    expected = np.bincount(labels)[:, None] / len(labels) * mass.sum(0)
    statistic = ((mass - expected) ** 2 / expected).sum(0)
    # Rounded, so that what a machine adds in which order decides between no two terms.
    order = np.lexsort((np.arange(len(terms)), -np.round(statistic, 6)))
    return [terms[i] for i in order[:number].tolist()]


def _idf(documents: int, frequency: NDArray[np.integer]) -> NDArray[np.float64]:
    return 1 + np.log((1 + documents) / (1 + frequency))
