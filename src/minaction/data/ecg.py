"""Hearts: beats of the electrocardiogram."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from minaction.data.dataset import Dataset, DataSpec
from minaction.data.fetch import fetch_files
from minaction.data.parsed import Arrays, file_checksums, parsed
from minaction.data.signals import labelled_parts, settled
from minaction.data.sources import refetch_hint
from minaction.data.sources_physiological import MIT_BIH_TEST, MIT_BIH_VALIDATION
from minaction.data.windows import cut_windows, parts_by_group
from minaction.errors import DataFileError, InputError

_RATE_HZ = 360
_LEAD = "MLII"
# Below is breathing and moving, above the muscles and the mains.
_BAND_HZ = (0.5, 40)
# From 0.25 s before a beat's annotation to 0.35 s after it, at a third of the rate: a whole beat
# and little of its neighbours. Balanced validation accuracy N against V of extremely randomised
# trees, five times two of the ten training patients left out: 0.861, and 0.851 with 0.75 s on both
# sides.
_BEFORE, _AFTER, _DECIMATION = 90, 126, 3
# ANSI/AAMI EC57: symbols of the annotations by class, in the order of the class names. Paced
# and unknown beats (Q) are ten in all these records, too few to learn or to test.
_AAMI = ("NLRej", "AaJS", "VE", "F")
_NORMAL_OR_VENTRICULAR = ("NLRej", "VE")
# Of samples of 12 bits, the format of these records.
_NO_VALUE = -2048
_VERSION = 1


def load_mit_bih(name: str, root: str | Path | None = None) -> Dataset:
    """Load beats of the MIT-BIH Arrhythmia Database: 16 of its 48 records.

    A sample is [72, 1]: 0.6 s at 120 Hz of lead MLII around a beat, which cardiologists annotated.
    The signal is filtered to 0.5 to 40 Hz (Butterworth of order 2, forwards and backwards) and
    divided by the standard deviation of its record, as electrodes and chests differ: balanced
    accuracy on patients left out 0.861, and 0.770 in millivolts. `mit-bih` has the AAMI classes
    normal, supraventricular, ventricular and fusion; `mit-bih-nv` the first and third alone.
    Four in five beats are normal, so balanced accuracy counts.

    Groups are records. Training and test patients are those of de Chazal's inter-patient split as
    far as they are among the 16; validation are two of its training patients. Needs the package
    wfdb.

    Args:
        name: `mit-bih` or `mit-bih-nv`.
        root: folder to look in first; see `minaction.data.fetch`.

    Raises:
        InputError: wfdb is not installed.
        DataFileError: a record is missing or damaged, lacks lead MLII or annotated beats.
        StorageError: a download could not be written.

    Reference:
        Moody, Mark, IEEE Engineering in Medicine and Biology 20(3):45-50, 2001. Split: de Chazal,
        O'Dwyer, Reilly, IEEE Transactions on Biomedical Engineering 51(7):1196-1206, 2004.
    """
    files = fetch_files(name, root)
    spec = DataSpec.of_source(name)
    symbols = _NORMAL_OR_VENTRICULAR if name == "mit-bih-nv" else _AAMI
    with warnings.catch_warnings():
        # wfdb still uses what pandas is about to drop.
        warnings.simplefilter("ignore", DeprecationWarning)
        arrays = parsed(
            name, _VERSION, file_checksums(files), lambda: _read(files, symbols, spec.shape[0])
        )
    parts = parts_by_group(
        arrays["groups"], [int(r) for r in MIT_BIH_VALIDATION], [int(r) for r in MIT_BIH_TEST]
    )
    origin = next(iter(files.values())).parent
    return labelled_parts(spec, arrays["x"], arrays["y"], parts, origin, arrays["groups"])


def _read(files: dict[str, Path], symbols: tuple[str, ...], steps: int) -> Arrays:
    x, y, groups = [], [], []
    for header in (path for name, path in files.items() if name.endswith(".hea")):
        beats, labels = _read_beats(header.with_suffix(".atr"), symbols)
        signal = _read_signal(header)
        inside = (beats >= _BEFORE) & (beats + _AFTER <= len(signal))
        windows = cut_windows(signal[:, None], beats[inside] - _BEFORE, _BEFORE + _AFTER)
        x.append(settled(windows.reshape(-1, steps, _DECIMATION, 1).mean(2)))
        y.append(labels[inside])
        groups.append(np.full(len(x[-1]), int(header.stem)))
    return {
        "x": np.concatenate(x),
        "y": np.concatenate(y).astype(np.int64),
        "groups": np.concatenate(groups).astype(np.int64),
    }


def _read_signal(header: Path) -> NDArray[np.float64]:
    """Return lead MLII, filtered and divided by its standard deviation."""
    wfdb = _wfdb()
    data = header.with_suffix(".dat")
    try:
        record = wfdb.rdrecord(str(header.with_suffix("")), physical=False)
        # The header holds the sum of each channel's samples, modulo 2^16.
        intact = all(
            (found - int(stated)) % (1 << 16) == 0
            for found, stated in zip(record.calc_checksum(), record.checksum, strict=True)
        )
    # wfdb raises whatever the damage leads to: its own errors, of NumPy, of text.
    except Exception as error:
        raise _damaged(header, f"is not a WFDB record ({_first_line(error)})") from error
    if not intact:
        raise _damaged(data, "its signal has another checksum than its header says")
    if record.fs != _RATE_HZ or _LEAD not in record.sig_name:
        leads = ", ".join(record.sig_name)
        raise _damaged(header, f"has {leads} at {record.fs} Hz, expected {_LEAD} at {_RATE_HZ} Hz")
    samples = record.d_signal[:, record.sig_name.index(_LEAD)].astype(np.float64)
    if missing := int((samples == _NO_VALUE).sum()):
        raise _damaged(data, f"has {missing} samples without a value")
    if len(samples) < _RATE_HZ or samples.std() == 0:
        raise _damaged(data, f"has {len(samples)} samples without a heart's signal")
    from scipy.signal import butter, sosfiltfilt  # takes most of a second to import

    band = butter(2, _BAND_HZ, "bandpass", fs=_RATE_HZ, output="sos")
    filtered = np.asarray(sosfiltfilt(band, samples))
    return filtered / filtered.std()


def _read_beats(
    path: Path, symbols: tuple[str, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the sample and the class of every beat of one of the classes."""
    wfdb = _wfdb()
    try:
        annotation = wfdb.rdann(str(path.with_suffix("")), "atr")
    except Exception as error:
        raise _damaged(path, f"is not a WFDB annotation file ({_first_line(error)})") from error
    classes = {symbol: label for label, group in enumerate(symbols) for symbol in group}
    found = [
        (int(sample), classes[symbol])
        for sample, symbol in zip(annotation.sample, annotation.symbol, strict=True)
        if symbol in classes
    ]
    if not found:
        raise _damaged(path, "has no annotated beats")
    beats, labels = np.array(found, dtype=np.int64).T
    if (np.diff(beats) < 0).any():
        raise _damaged(path, "has annotations out of order")
    return beats, labels


def _wfdb() -> ModuleType:
    try:
        import wfdb
    except ModuleNotFoundError as error:
        raise InputError(
            "mit-bih needs wfdb; install with: pip install 'minaction[physiology]'"
        ) from error
    return wfdb


def _first_line(error: Exception) -> str:
    return re.split(r"[\n;]", str(error) or type(error).__name__)[0]


def _damaged(path: Path, problem: str) -> DataFileError:
    return DataFileError(path, f"{problem}; {refetch_hint(path)}")
