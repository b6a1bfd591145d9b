"""The offline default for physiology: simulated people, at rest and under stress."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from minaction.data.dataset import Dataset, DataSpec
from minaction.data.parsed import Arrays, parsed
from minaction.data.physiology import heart_rate, neurokit, second_means, standardised
from minaction.data.signals import labelled_parts, settled
from minaction.data.windows import cut_windows, parts_by_group, window_starts

_PEOPLE = 50
# As often as the optical sensor of a wristband.
_RATE_HZ = 64
_PART_SECONDS = 180
_STATES = (0, 1, 0, 1)
# Half a window, so that every second but those at the ends counts twice.
_STEP = 30
_VERSION = 1


def load_simulated_stress(
    name: str = "simulated-stress", root: str | Path | None = None
) -> Dataset:
    """Simulate 50 people who rest and are under stress in turn, as a wearable would record them.

    Nothing here was measured on anybody: neurokit2 draws the pulse wave, the breathing and the
    skin conductance, and this function chooses with which rates. A person has a heart rate, a
    breathing rate and a number of skin responses per minute of their own, and stress changes each
    by an amount of their own, by much in some and by little in others. So the classes overlap, and
    what a network reaches here says nothing about people.

    A sample is [60, 3]: 60 s at 1 Hz of heart rate (from the beats found in the pulse wave),
    breathing and skin conductance (means over each second). Each channel has mean 0 and deviation
    1 over its person, which takes no labels. Every person has three minutes each of rest, stress,
    rest and stress; windows overlap by half and lie inside one of these.

    Groups are people. Test are those whose number is divisible by 5, validation those with a
    remainder of 1, the rest trains.

    Every seed is fixed and no global state is used. The data, and so the fingerprint, depend on
    the version of neurokit2.

    Args:
        name: name of the data set.
        root: not needed, as the data are simulated.

    Reference:
        Makowski et al., NeuroKit2: A Python toolbox for neurophysiological signal processing,
        Behavior Research Methods 53:1689-1696, 2021.
    """
    spec = DataSpec.of_source(name)
    sources = {"neurokit2": version("neurokit2")}
    arrays = parsed(name, _VERSION, sources, lambda: _simulate(spec.shape[0]))
    groups = arrays["groups"]
    people = np.arange(_PEOPLE)
    parts = parts_by_group(groups, people[people % 5 == 1], people[people % 5 == 0])
    return labelled_parts(spec, arrays["x"], arrays["y"], parts, Path(name), groups)


def _simulate(length: int) -> Arrays:
    simulator = neurokit()
    labels = np.repeat(_STATES, _PART_SECONDS).astype(np.int64)
    starts = window_starts(labels, length, _STEP)
    with warnings.catch_warnings():
        # It warns of noise that is left out, being too fast for the sampling rate.
        warnings.simplefilter("ignore")
        people = [standardised(_person(simulator, number)) for number in range(_PEOPLE)]
    return {
        "x": settled(np.concatenate([cut_windows(person, starts, length) for person in people])),
        "y": np.tile(labels[starts], _PEOPLE),
        "groups": np.repeat(np.arange(_PEOPLE), len(starts)).astype(np.int64),
    }


def _person(simulator: ModuleType, number: int) -> NDArray[np.float64]:
    """Return heart rate, breathing and skin conductance at 1 Hz, [seconds, 3]."""
    # The older generator, whose streams NumPy has frozen.
    random = np.random.RandomState(number)
    # Per minute: of the heart, of breathing, of responses of the skin; at rest and under stress.
    rest = np.array([random.normal(70, 8), random.normal(14, 2), random.uniform(2, 5)])
    more = np.array([random.normal(9, 6), random.normal(2.5, 2.5)])
    stress = np.array([*(rest[:2] + more), rest[2] * np.exp(random.normal(0.7, 0.5))])
    size = np.exp(random.normal(0, 0.4))
    parts = []
    for state in _STATES:
        # Nobody is the same twice.
        rates = (stress if state else rest) * np.exp(random.normal(0, (0.04, 0.08, 0.2)))
        signals = _signals(simulator, rates, random.normal(0.002 * state, 0.002), random)
        if parts:
            # Conductance goes on from where it was.
            signals[:, 2] += parts[-1][-1, 2] / size - signals[0, 2]
        parts.append(signals * (1, 1, size))
    return np.concatenate(parts)


def _signals(
    simulator: ModuleType,
    rates: NDArray[np.float64],
    drift: float,
    random: np.random.RandomState,
) -> NDArray[np.float64]:
    """Return three minutes in one state, [180, 3]."""
    heart, breath, responses = np.clip(rates, (45, 7, 0.5), (130, 26, 20)).tolist()
    common = {"duration": _PART_SECONDS, "sampling_rate": _RATE_HZ}
    seeds = random.randint(1 << 31, size=3).tolist()
    pulse = simulator.ppg_simulate(
        heart_rate=heart,
        frequency_modulation=0.05,
        powerline_amplitude=0,
        burst_amplitude=0,
        random_state=seeds[0],
        **common,
    )
    breathing = simulator.rsp_simulate(respiratory_rate=breath, random_state=seeds[1], **common)
    conductance = simulator.eda_simulate(
        scr_number=round(responses * _PART_SECONDS / 60),
        drift=drift,
        random_state=seeds[2],
        **common,
    )
    beats = simulator.ppg_findpeaks(pulse, sampling_rate=_RATE_HZ)["PPG_Peaks"] / _RATE_HZ
    rate = heart_rate(beats, _PART_SECONDS)
    assert rate is not None, "a simulated heart stood still"
    # What is simulated may be some samples longer than asked.
    others = (second_means(signal, _RATE_HZ)[:_PART_SECONDS] for signal in (breathing, conductance))
    return np.column_stack([rate, *others])
