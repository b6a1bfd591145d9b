"""Shrinking a network pass by pass: measure, choose, remove, until nothing is left to remove."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from minaction.compaction.batches import Batches
from minaction.compaction.copying import copy_of
from minaction.compaction.coupling import Coupling, find_couplings
from minaction.compaction.judgement import Judgement, Kind, judge
from minaction.compaction.pricing import MacBudget, least_for_their_macs
from minaction.compaction.readings import Reading, measure
from minaction.compaction.removal import without
from minaction.compaction.sensitivity import output_changes
from minaction.errors import CompactionError

PASS = 0.7
"""Share of the MACs that a pass on the way to fewer leaves."""


@dataclass(frozen=True, kw_only=True)
class RemovedUnit:
    """A unit that was taken out.

    Attributes:
        layer: Name of the layer with weights that computed it.
        unit: Its index there, as in the original model.
        kind: `"silent"`: 0 wherever it was read; `"constant"`: always the same value there;
            `"unread"`: all weights that read it are 0; by approximation, `"near-silent"`: its
            effect is below the tolerance, and `"least"`: the outputs depend on it least for the
            MACs it costs.
        constant: Its mean where it was read; it went into the biases of the layers reading it.
    """

    layer: str
    unit: int
    kind: Kind
    constant: float

    @property
    def exact(self) -> bool:
        """Whether its removal changes nothing on the calibration set."""
        return self.kind not in ("near-silent", "least")


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
        while self.below(tolerance=0.0):
            pass

    def below(self, tolerance: float) -> int:
        """Take out units whose effect is below a tolerance, and return how many they were.

        Raises:
            CompactionError: The network cannot be traced or run, or its output is constant.
        """
        judged, readings = self._judge()
        self.kept, plan = [], []
        for coupling, judgement in judged:
            self._note_kept(coupling, judgement, tolerance)
            chosen = judgement.chosen(tolerance)
            if chosen:
                plan.append(_Removal(coupling, judgement, chosen, "near-silent"))
        return self._carry_out(plan, readings)

    def down_to(self, macs: float) -> None:
        """Take out units until no more than so many MACs per sample are left.

        Each pass takes off a part and judges those anew that are left: without its neighbours a
        unit may have become important.

        Raises:
            CompactionError: So few cannot be reached, the network cannot be traced or run, or its
                output is constant.
        """
        while (budget := MacBudget(self.model, self.batches.first)).left > macs:
            now, goal = budget.left, max(macs, PASS * budget.left)
            judged, readings = self._judge()
            couplings = [coupling for coupling, _ in judged]
            changes = output_changes(copy_of(self.model), couplings, readings, self.batches)
            chosen = least_for_their_macs(
                [(c, changes[c.layer], judgement.read) for c, judgement in judged], budget, goal
            )
            plan = [
                _Removal(coupling, judgement, chosen[coupling.layer], "least")
                for coupling, judgement in judged
                if coupling.layer in chosen
            ]
            if budget.left > goal or not self._carry_out(plan, readings):
                raise CompactionError(
                    f"the network cannot be brought from {now:,.0f} to {macs:,.0f} MACs per "
                    f"sample: with one unit in each layer that can lose some, {budget.left:,.0f} "
                    "would be left; give a larger share"
                )

    def _judge(self) -> tuple[list[tuple[Coupling, Judgement]], dict[str, Reading]]:
        couplings, not_covered = find_couplings(copy_of(self.model), self.batches.first)
        self.not_covered = not_covered | self.not_covered
        couplings = [c for c in couplings if c.layer not in self.not_covered]
        readings = self._measure(couplings)
        modules = dict(self.model.named_modules())
        judged = []
        for coupling in couplings:
            if readings.keys() >= coupling.readers.keys():
                judged.append((coupling, judge(coupling, modules, readings)))
            else:
                self.not_covered[coupling.layer] = "a layer that reads it did not run"
        return judged, readings

    def _measure(self, couplings: Sequence[Coupling]) -> dict[str, Reading]:
        names = dict.fromkeys(name for coupling in couplings for name in coupling.readers)
        readings, constant = measure(self.model, names, self.batches)
        if constant:
            cause = (
                "with so few units left the network gives the same output for all of "
                f"{self.batches.name}; remove fewer"
                if any(not unit.exact for unit in self.removed)
                else f"the network has collapsed: its output is the same for all of "
                f"{self.batches.name}; train it with a smaller lambda, or give samples that differ"
            )
            raise CompactionError(cause)
        return readings

    def _carry_out(self, plan: Sequence[_Removal], readings: Mapping[str, Reading]) -> int:
        count = 0
        for removals in _all_or_each(plan):
            units = [(removal.coupling, removal.units) for removal in removals]
            try:
                self.model = without(self.model, self.batches, units, readings)
            except CompactionError as error:
                if len(removals) == 1:
                    self.not_covered[removals[0].coupling.layer] = str(error)
                continue
            for removal in removals:
                self._note_removed(removal)
                count += len(removal.units)
            if len(removals) == len(plan):
                break
        return count

    def _note_removed(self, removal: _Removal) -> None:
        judgement = removal.judgement
        for name, where in removal.coupling.writers.items():
            numbers = self._original(name, int(where.channels.max()) + 1)
            gone = {}
            for unit in removal.units:
                gone |= dict.fromkeys(where.of([unit]), unit)
            self.removed += [
                RemovedUnit(
                    layer=name,
                    unit=numbers[channel],
                    kind=judgement.kind(unit, removal.otherwise),
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


@dataclass(frozen=True)
class _Removal:
    """Units of one coupling that are to go, and what it is called where it is not exact."""

    coupling: Coupling
    judgement: Judgement
    units: list[int]
    otherwise: Kind


def _all_or_each(plan: Sequence[_Removal]) -> list[list[_Removal]]:
    """All at once, which nearly always works; else one by one, to find out which does not."""
    every = list(plan)
    return [every, *([removal] for removal in every if len(every) > 1)] if every else []
