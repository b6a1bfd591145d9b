"""What is tried next: optuna's samplers over the candidates of a space, each proposed once."""

from __future__ import annotations

import importlib.util
import random
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from minaction.errors import InputError
from minaction.models.ratio import parse_ratio
from minaction.search.objectives import levels_of
from minaction.search.space import Architecture, architecture, candidate
from minaction.study.design import RunConfig, run_id
from minaction.study.journal import Record
from minaction.study.study_file import Study

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import Trial

POPULATIONS = 5
"""Generations of NSGA-II in a search, whatever its length."""

Level = str | int | float


class Proposer:
    """Proposes candidates, and is told what came of them.

    A search of n evaluations tries n different candidates. From a proposal that is nothing new, or
    cannot be tried, a random walk leads to the nearest ones, step by step, until one is; random
    search draws another. A candidate that did not end well is told as pruned.

    The same calls in the same order give the same proposals, so a search goes on where it was by
    being told again what is in its journal.

    Args:
        study: The crossing that candidates are runs of.
        objectives: What is sought.
        sampler: A name in `SAMPLERS`.
        seed: Its seed.
        evaluations: How many will be proposed.
        tried_with: The seed that candidates are trained with.
        left_out: Architectures that cannot be tried, see `architecture`.
    """

    def __init__(
        self,
        study: Study,
        objectives: Sequence[str],
        sampler: str,
        *,
        seed: int,
        evaluations: int,
        tried_with: int,
        left_out: Collection[Architecture] = (),
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._crossing, self._objectives, self._tried_with = study, objectives, tried_with
        self._left_out = set(left_out)
        self._levels = {key: in_order(key, of) for key, of in study.levels.items()}
        self._distributions: dict[str, BaseDistribution] = {
            key: optuna.distributions.IntDistribution(0, len(levels) - 1)
            if is_ordered(key, levels)
            else optuna.distributions.CategoricalDistribution(range(len(levels)))
            for key, levels in self._levels.items()
            if len(levels) > 1
        }
        self._random, self._blind = random.Random(seed), sampler == "random"
        self._asked: dict[str, Trial] = {}
        self._optuna = optuna.create_study(
            directions=[optuna.study.StudyDirection.MINIMIZE] * len(objectives),
            sampler=_sampler(sampler, seed, evaluations),
        )

    def ask(self) -> RunConfig:
        """Return the next candidate.

        There must be one that was not asked for before.
        """
        from optuna.trial import TrialState

        trial = self._optuna.ask(self._distributions)
        places, config = trial.params, self._config(trial.params)
        if not self._is_new(config):
            self._optuna.tell(trial, state=TrialState.FAIL)
            while not self._is_new(config):
                places = self._moved(places)
                config = self._config(places)
            self._optuna.enqueue_trial(places)
            trial = self._optuna.ask(self._distributions)
        self._asked[run_id(config)] = trial
        return config

    def tell(self, record: Record) -> None:
        """Learn from the record of a candidate that was asked for."""
        from optuna.trial import TrialState

        trial, levels = self._asked[record.run_id], levels_of(record, self._objectives)
        if levels is None:
            self._optuna.tell(trial, state=TrialState.PRUNED)
        else:
            self._optuna.tell(trial, levels)

    def _config(self, places: Mapping[str, int]) -> RunConfig:
        cell = {key: levels[places.get(key, 0)] for key, levels in self._levels.items()}
        return candidate(self._crossing, cell, self._tried_with)

    def _moved(self, places: Mapping[str, int]) -> dict[str, int]:
        """Return places one step from others; of random search, any places."""
        if self._blind:
            return {key: self._random.randrange(len(self._levels[key])) for key in places}
        key = self._random.choice(list(places))
        levels = self._levels[key]
        if is_ordered(key, levels):
            place = min(max(places[key] + self._random.choice((-1, 1)), 0), len(levels) - 1)
        else:
            place = self._random.randrange(len(levels))
        return {**places, key: place}

    def _is_new(self, config: RunConfig) -> bool:
        return run_id(config) not in self._asked and architecture(config) not in self._left_out


def search_space(
    proposer: Proposer,
    evaluate: Callable[[Sequence[RunConfig]], Sequence[Record]],
    *,
    evaluations: int,
    batch: int,
) -> list[Record]:
    """Try candidates, batch by batch, and return their records in the order they were proposed.

    Args:
        proposer: What proposes.
        evaluate: Gives the records of candidates.
        evaluations: How many are tried.
        batch: How many are proposed before the first of them is known.
    """
    found: list[Record] = []
    while len(found) < evaluations:
        size = min(batch, evaluations - len(found))
        records = evaluate([proposer.ask() for _ in range(size)])
        for record in records:
            proposer.tell(record)
        found += records
    return found


def require_optuna() -> None:
    """Check that the library of samplers is there.

    Raises:
        InputError: It is not installed.
    """
    if importlib.util.find_spec("optuna") is None:
        raise InputError("a search needs optuna; install with: pip install 'minaction[search]'")


def in_order(key: str, levels: Sequence[Level]) -> list[Level]:
    """Return the levels of a factor in ascending order, names in that of the file."""
    if key == "ratio":
        return sorted(levels, key=parse_ratio)
    return sorted(levels) if is_ordered(key, levels) else list(levels)  # pyright: ignore[reportArgumentType]


def is_ordered(key: str, levels: Sequence[Level]) -> bool:
    """Tell whether the levels of a factor are numbers, of which near ones are alike."""
    return key == "ratio" or not any(isinstance(level, str) for level in levels)


def _sampler(name: str, seed: int, evaluations: int) -> BaseSampler:
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "tpe":
            return optuna.samplers.TPESampler(seed=seed)
        if name == "nsga2":
            size = max(2, round(evaluations / POPULATIONS))
            return optuna.samplers.NSGAIISampler(population_size=size, seed=seed)
        return optuna.samplers.RandomSampler(seed=seed)
