"""One function for every data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from minaction.data.builtin import load_digits
from minaction.data.dataset import Dataset
from minaction.data.docstrings import load_docstrings
from minaction.data.ecg import load_mit_bih
from minaction.data.eeg import load_eegmat
from minaction.data.emg import load_myo_readings
from minaction.data.neuromorphic import load_n_mnist, load_saccade_digits
from minaction.data.newsgroups import load_newsgroups
from minaction.data.shd import load_shd
from minaction.data.simulated_stress import load_simulated_stress
from minaction.data.sources import source_of
from minaction.data.speech import load_fsdd, load_speech_commands
from minaction.data.vision import load_idx_images
from minaction.data.wearables import load_stress_predict
from minaction.data.wesad import load_wesad

LOADERS: dict[str, Callable[[str, str | Path | None], Dataset]] = {
    "mnist": load_idx_images,
    "fashion-mnist": load_idx_images,
    "digits": load_digits,
    "fsdd": load_fsdd,
    "fsdd-speaker": load_fsdd,
    "speech-commands": load_speech_commands,
    "20newsgroups": load_newsgroups,
    "20newsgroups-tfidf": load_newsgroups,
    "docstrings": load_docstrings,
    "n-mnist": load_n_mnist,
    "n-mnist-full": load_n_mnist,
    "shd": load_shd,
    "saccade-digits": load_saccade_digits,
    "myo-readings": load_myo_readings,
    "mit-bih": load_mit_bih,
    "mit-bih-nv": load_mit_bih,
    "stress-predict": load_stress_predict,
    "eegmat": load_eegmat,
    "wesad": load_wesad,
    "simulated-stress": load_simulated_stress,
}


def load_dataset(name: str, root: str | Path | None = None) -> Dataset:
    """Load a data set by name, downloading it if it is not on this machine.

    Args:
        name: a name of `minaction.data.sources.SOURCES`.
        root: folder to look in first (files in `<root>/<name>/`) and to download to; without it
            $MINACTION_DATA and then the user's cache.

    Raises:
        UnknownNameError: no such data set; the message names the nearest.
        DataFileError: a file is damaged, or is missing and could not be downloaded; the message
            says what to put where.
        StorageError: a download could not be written.
    """
    source_of(name)
    return LOADERS[name](name, root)
