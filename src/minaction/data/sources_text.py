"""Rows of the table of data sets: text."""

from __future__ import annotations

from minaction.data.source import Source, SourceFile

_GROUPS = tuple(
    "alt.atheism comp.graphics comp.os.ms-windows.misc comp.sys.ibm.pc.hardware "
    "comp.sys.mac.hardware comp.windows.x misc.forsale rec.autos rec.motorcycles "
    "rec.sport.baseball rec.sport.hockey sci.crypt sci.electronics sci.med sci.space "
    "soc.religion.christian talk.politics.guns talk.politics.mideast talk.politics.misc "
    "talk.religion.misc".split()
)
# Validation accuracy of a linear SVM on the TF-IDF view, 1132 messages: 0.725 with 2048 ids, 0.777
# with 4096, 0.783 with 8192, where an embedding takes most of the parameters of a small model.
# Two ids are padding and unknown.
NEWSGROUPS_VOCABULARY = 4096
_TERMS = NEWSGROUPS_VOCABULARY - 2
# 97 % of the training messages have no more known words.
_LENGTH = 256
# Shorter texts with fewer words, in proportion.
DOCSTRINGS_VOCABULARY = 2048


def _newsgroups(
    title: str, shape: tuple[int, ...], vocabulary: int | None, folder: str | None
) -> Source:
    return Source(
        title=title,
        modality="text",
        shape=shape,
        class_names=_GROUPS,
        vocabulary=vocabulary,
        files=(
            SourceFile(
                name="20news-bydate.tar.gz",
                urls=("https://ndownloader.figshare.com/files/5975967",),
                sha256="8f1b2514ca22a5ade8fbb9cfa5727df95fa587f4c87b786e15c759fa66d95610",
                # The same messages packed again without the resource forks of macOS.
                repacked_sha256=(
                    "7121e89e265c9b41bd19f99ef6c13d4d7025ab2e42d38a10a78123630af1b678",
                ),
                unpacked="20news-bydate-train",
            ),
        ),
        folder=folder,
        licence="none stated; public Usenet posts",
        citation="Lang, NewsWeeder: learning to filter netnews, ICML 1995",
        homepage="http://qwone.com/~jason/20Newsgroups/",
    )


TEXT: dict[str, Source] = {
    "20newsgroups": _newsgroups(
        "20 Newsgroups by date, 11314 + 7532 messages stripped, as token ids",
        (_LENGTH,),
        NEWSGROUPS_VOCABULARY,
        None,
    ),
    "20newsgroups-tfidf": _newsgroups(
        "20 Newsgroups by date, 11314 + 7532 messages stripped, as TF-IDF vectors",
        (_TERMS,),
        None,
        "20newsgroups",
    ),
    "docstrings": Source(
        title="Docstrings of the installed numpy, pandas, scipy, scikit-learn and torch",
        modality="text",
        shape=(64,),
        class_names=("numpy", "pandas", "scipy", "sklearn", "torch"),
        vocabulary=DOCSTRINGS_VOCABULARY,
        licence="BSD 3-Clause (all five packages)",
        citation="the packages numpy, pandas, scipy, scikit-learn and torch as installed",
        homepage="https://scientific-python.org",
        offline=True,
    ),
}
