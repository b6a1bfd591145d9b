"""Rows of the table of data sets: speech."""

from __future__ import annotations

from minaction.data.source import Source, SourceFile

# Frames and mel bands of one utterance; see `minaction.data.wav.log_mel`. Half the sampling rate
# of Speech Commands is twice as high, so it takes more bands.
_FSDD_SHAPE = (32, 24)
_COMMANDS_SHAPE = (32, 32)

_FSDD_FILES = (
    SourceFile(
        name="recordings.tar.gz",
        urls=(
            "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/"
            "26eb9aaf76e81b692f806f9140c2d2777410d7a1.tar.gz",
        ),
        # The archive is made on demand, so its bytes may change; the recordings may not. Computed
        # from the 3000 files of that commit.
        contents_sha256="04e1baae96c6a26e39c623f2b01d0182ddae627ba0ac02a3cdc17ba2af99fd9b",
        unpacked="recordings",
    ),
)


def _fsdd(title: str, folder: str | None) -> Source:
    return Source(
        title=title,
        modality="speech",
        shape=_FSDD_SHAPE,
        class_names=tuple("0123456789"),
        files=_FSDD_FILES,
        folder=folder,
        licence="CC BY-SA 4.0",
        citation=(
            "Jackson, Souza, Flaks, Pan, Nicolas, Thite, Free Spoken Digit Dataset, Zenodo, 2018, "
            "doi:10.5281/zenodo.1342401"
        ),
        homepage="https://github.com/Jakobovski/free-spoken-digit-dataset",
    )


SPEECH: dict[str, Source] = {
    "fsdd": _fsdd("Free Spoken Digits, 3000 recordings of 6 speakers, official split", None),
    "fsdd-speaker": _fsdd("Free Spoken Digits, tested on a speaker never heard", "fsdd"),
    "speech-commands": Source(
        title="Speech Commands v0.02, 105829 recordings of 35 words, official split",
        modality="speech",
        shape=_COMMANDS_SHAPE,
        class_names=tuple(
            "backward bed bird cat dog down eight five follow forward four go happy house learn "
            "left marvin nine no off on one right seven sheila six stop three tree two up visual "
            "wow yes zero".split()
        ),
        files=(
            SourceFile(
                name="speech_commands_v0.02.tar.gz",
                urls=(
                    "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
                    "https://storage.googleapis.com/download.tensorflow.org/data/"
                    "speech_commands_v0.02.tar.gz",
                ),
                bytes=2428923189,
                sha256="af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
                unpacked="testing_list.txt",
            ),
        ),
        licence="CC BY 4.0",
        citation=(
            "Warden, Speech Commands: a dataset for limited-vocabulary speech recognition, "
            "arXiv:1804.03209, 2018"
        ),
        homepage="https://www.tensorflow.org/datasets/catalog/speech_commands",
    ),
}
