"""Parts of a study, for drivers that know nothing of each other."""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from minaction.errors import InputError
from minaction.study.design import RunConfig, baseline_of, iter_runs, run_id
from minaction.study.study_file import BUDGET, Study
from minaction.study.toml_text import shown

_SPELLED = re.compile(r"(\d{1,9})/(\d{1,9})", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One of the parts that a study's runs are cut into.

    Attributes:
        number: Which one, from 1.
        count: How many there are.

    Raises:
        InputError: There is no such part.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise InputError(f"there is no part {self} of a study; give K/N, K from 1 to N")

    @classmethod
    def of(cls, text: str) -> Part:
        """Read a part from text such as `2/4`, the second of four.

        Raises:
            InputError: It is spelt otherwise, or there is no such part.
        """
        found = _SPELLED.fullmatch(text)
        if found is None:
            raise InputError(f"no part of a study: {shown(text)}; give K/N, such as 2/4")
        return cls(number=int(found[1]), count=int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def runs(self, study: Study) -> list[RunConfig]:
        """Return the part's runs, in the order of the crossing.

        Runs are dealt out by their ids, which are hashes, each to the part that has fewest: so the
        parts are the same on every machine, mixed, and about as large. A baseline and the budget
        runs that need its record are dealt out as one, before the others.

        Raises:
            InputError: There are more parts than runs that can be apart.
        """
        sizes = Counter(_group(config) for config in iter_runs(study))
        if self.count > len(sizes):
            because = "" if len(sizes) == study.run_count else ": budget runs need their baseline"
            raise InputError(
                f"part {self}: the {study.run_count} runs of {study.name} make "
                f"{len(sizes)} parts at most{because}"
            )
        mine = self._groups(sizes)
        return [config for config in iter_runs(study) if _group(config) in mine]

    def _groups(self, sizes: Mapping[str, int]) -> set[str]:
        """Return the groups that are this part's, of some with so many runs each."""
        mine: set[str] = set()
        parts = [(0, number) for number in range(1, self.count + 1)]
        for group in sorted(sizes, key=lambda group: (-sizes[group], group)):
            runs, number = parts[0]
            heapq.heapreplace(parts, (runs + sizes[group], number))
            if number == self.number:
                mine.add(group)
        return mine


def _group(config: RunConfig) -> str:
    """Return the id that says which runs must be in one part."""
    return run_id(baseline_of(config) if config["lam"] == BUDGET else config)
