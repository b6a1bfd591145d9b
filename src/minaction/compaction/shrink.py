"""Shrinking a network pass by pass: measure, choose, remove, until nothing is left to remove."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from minaction.compaction.batches import Batches
from minaction.compaction.copying import copy_of
from minaction.compaction.coupling import Coupling, find_couplings
from minaction.compaction.judgement import Judgement, Kind, judge
from minaction.compaction.readings import Reading, measure
from minaction.compaction.removal import without
from minaction.errors import CompactionError


@dataclass(frozen=True, kw_only=True)
class RemovedUnit:
    """A unit that was taken out.

    Attributes:
        layer: Name of the layer with weights that computed it.
        unit: Its index there, as in the original model.
        kind: `"silent"`: 0 wherever it was read; `"constant"`: always the same value there;
            `"unread"`: all weights that read it are 0; `"near-silent"`: its effect is below the
            tolerance, so that its removal is an approximation.
        constant: Its mean where it was read; it went into the biases of the layers reading it.
    """

    layer: str
    unit: int
    kind: Kind
    constant: float

    @property
    def exact(self) -> bool:
        """Whether its removal changes nothing on the calibration set."""
        return self.kind != "near-silent"


@dataclass(frozen=True, kw_only=True)
class KeptUnit:
    """A unit that was constant and had to stay, and why."""

    layer: str
    unit: int
    constant: float
    reason: str


@dataclass(kw_only=True, eq=False)
class Shrinking:
    """A network on its way to fewer units.

    Attributes:
        model: The network as it is now; never the one it began with, unless nothing was removed.
        batches: The calibration set.
        removed: Units taken out so far, numbered as in the original network.
        kept: Constant units that had to stay in the last pass.
        not_covered: Layers no unit can be taken from, with the reason.
    """

    model: nn.Module
    batches: Batches
    removed: list[RemovedUnit] = field(default_factory=list)
    kept: list[KeptUnit] = field(default_factory=list)
    not_covered: dict[str, str] = field(default_factory=dict)
    _numbers: dict[str, list[int]] = field(default_factory=dict)

    def exactly(self) -> None:
        """Take out units that do nothing; others may do nothing without them, so again."""
        while self.once(tolerance=0.0):
            pass

    def once(self, tolerance: float) -> int:
        """Take out units whose effect is below a tolerance, and return how many they were.

        Raises:
            CompactionError: The network cannot be traced or run, or its output is constant.
        """
        couplings, not_covered = find_couplings(copy_of(self.model), self.batches.first)
        self.not_covered = not_covered | self.not_covered
        couplings = [c for c in couplings if c.layer not in self.not_covered]
        readings = self._measure(couplings)
        modules = dict(self.model.named_modules())
        self.kept, plan = [], {}
        for coupling in couplings:
            if not readings.keys() >= coupling.readers.keys():
                self.not_covered[coupling.layer] = "a layer that reads it did not run"
                continue
            judgement = judge(coupling, modules, readings)
            self._note_kept(coupling, judgement, tolerance)
            chosen = judgement.chosen(tolerance)
            if chosen:
                plan[coupling.layer] = (coupling, judgement, chosen)
        return self._carry_out(plan, readings)

    def _measure(self, couplings: Sequence[Coupling]) -> dict[str, Reading]:
        names = dict.fromkeys(name for coupling in couplings for name in coupling.readers)
        readings, constant = measure(self.model, names, self.batches)
        if constant:
            raise CompactionError(
                f"the network has collapsed: its output is the same for all of {self.batches.name};"
                " train it with a smaller lambda, or give samples that differ"
            )
        return readings

    def _carry_out(
        self,
        plan: Mapping[str, tuple[Coupling, Judgement, list[int]]],
        readings: Mapping[str, Reading],
    ) -> int:
        count = 0
        for layers in _all_or_each(plan):
            units = [(plan[layer][0], plan[layer][2]) for layer in layers]
            try:
                self.model = without(self.model, self.batches, units, readings)
            except CompactionError as error:
                if len(layers) == 1:
                    self.not_covered[layers[0]] = str(error)
                continue
            for layer in layers:
                self._note_removed(*plan[layer])
                count += len(plan[layer][2])
            if len(layers) == len(plan):
                break
        return count

    def _note_removed(self, coupling: Coupling, judgement: Judgement, units: list[int]) -> None:
        for name, where in coupling.writers.items():
            numbers = self._original(name, int(where.channels.max()) + 1)
            gone = {}
            for unit in units:
                gone |= dict.fromkeys(where.of([unit]), unit)
            self.removed += [
                RemovedUnit(
                    layer=name,
                    unit=numbers[channel],
                    kind=judgement.kind(unit),
                    constant=float(judgement.mean[unit]),
                )
                for channel, unit in gone.items()
            ]
            self._numbers[name] = [n for channel, n in enumerate(numbers) if channel not in gone]

    def _note_kept(self, coupling: Coupling, judgement: Judgement, tolerance: float) -> None:
        numbers = self._original(coupling.layer, coupling.units)
        self.kept += [
            KeptUnit(
                layer=coupling.layer,
                unit=numbers[unit],
                constant=float(judgement.mean[unit]),
                reason=reason,
            )
            for unit, reason in judgement.stuck(tolerance).items()
        ]

    def _original(self, layer: str, channels: int) -> list[int]:
        return self._numbers.setdefault(layer, list(range(channels)))


def _all_or_each(layers: Iterable[str]) -> list[list[str]]:
    """All at once, which nearly always works; else one by one, to find out which does not."""
    every = list(layers)
    return [every, *([layer] for layer in every if len(every) > 1)] if every else []
