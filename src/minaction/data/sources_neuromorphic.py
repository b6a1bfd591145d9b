"""Rows of the table of data sets: event cameras and artificial cochleas."""

from __future__ import annotations

from minaction.data.source import Source, SourceFile, listed_files

_DIGITS = tuple("0123456789")
_MENDELEY = "https://data.mendeley.com/public-files/datasets/468j46mzdv/files/"
_N_MNIST_CITATION = (
    "Orchard, Jayawant, Cohen, Thakor, Converting static image datasets to spiking neuromorphic "
    "datasets using saccades, Frontiers in Neuroscience 9:437, 2015"
)
_N_MNIST_HOMEPAGE = "https://www.garrickorchard.com/datasets/n-mnist"
# A public project carries these recordings on their own; it numbers test images from 60001 on.
_SUBSET = (
    "https://raw.githubusercontent.com/bamsumit/slayerPytorch/"
    "01beeeb6a181546d6c6830382ce6086bfc587836/test/test_files/NMNISTsmall/{number}.bs2"
)


def _subset_address(path: str) -> str:
    part, _, file = path.split("/")
    number = int(file.removesuffix(".bin")) + (60_000 if part == "Test" else 0)
    return _SUBSET.format(number=number)


NEUROMORPHIC: dict[str, Source] = {
    "n-mnist": Source(
        title="N-MNIST, event-camera recordings of 1000 + 100 MNIST digits",
        modality="neuromorphic",
        shape=(9, 2, 17, 17),
        class_names=_DIGITS,
        # Checksums computed from that project's files.
        files=listed_files("n-mnist.sha256", _subset_address),
        licence="CC BY-SA 4.0",
        citation=_N_MNIST_CITATION,
        homepage=_N_MNIST_HOMEPAGE,
    ),
    "n-mnist-full": Source(
        title="N-MNIST, event-camera recordings of all 60000 + 10000 MNIST digits",
        modality="neuromorphic",
        shape=(9, 2, 17, 17),
        class_names=_DIGITS,
        files=(
            SourceFile(
                name="train.zip",
                urls=(f"{_MENDELEY}39c25547-014b-4137-a934-9d29fa53c7a0/file_downloaded",),
                md5="20959b8e626244a1b502305a9e6e2031",
                unpacked="Train",
            ),
            SourceFile(
                name="test.zip",
                urls=(f"{_MENDELEY}05a4d654-7e03-4c15-bdfa-9bb2bcbea494/file_downloaded",),
                md5="69ca8762b2fe404d9b9bad1103e97832",
                unpacked="Test",
            ),
        ),
        licence="CC BY-SA 4.0",
        citation=_N_MNIST_CITATION,
        homepage=_N_MNIST_HOMEPAGE,
    ),
    "shd": Source(
        title="Spiking Heidelberg Digits, 8156 + 2264 spoken digits as cochlear spikes",
        modality="neuromorphic",
        shape=(50, 140),
        class_names=tuple(
            "zero one two three four five six seven eight nine "
            "null eins zwei drei vier fuenf sechs sieben acht neun".split()
        ),
        files=tuple(
            SourceFile(
                name=f"shd_{part}.h5.zip",
                urls=(f"https://zenkelab.org/datasets/shd_{part}.h5.zip",),
                md5=md5,
                unpacked=f"shd_{part}.h5",
                unpacked_whole=True,
            )
            for part, md5 in (
                ("train", "f3252aeb598ac776c1b526422d90eecb"),
                ("test", "1503a5064faa34311c398fb0a1ed0a6f"),
            )
        ),
        licence="CC BY 4.0",
        citation=(
            "Cramer, Stradmann, Schemmel, Zenke, The Heidelberg Spiking Data Sets for the "
            "Systematic Evaluation of Spiking Neural Networks, IEEE TNNLS 33(7):2744-2757, 2022"
        ),
        homepage="https://zenkelab.org/resources/spiking-heidelberg-datasets-shd/",
    ),
    "saccade-digits": Source(
        title="UCI digits moved in three saccades past a simulated event camera",
        modality="neuromorphic",
        shape=(9, 2, 16, 16),
        class_names=_DIGITS,
        licence="CC BY 4.0",
        citation=(
            "Alpaydin, Kaynak, Optical recognition of handwritten digits, "
            "UCI Machine Learning Repository, 1998, doi:10.24432/C50P49"
        ),
        homepage="https://archive.ics.uci.edu/dataset/80",
        offline=True,
        simulated=True,
    ),
}
