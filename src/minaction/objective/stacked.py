"""The lambda rules of runs that are trained at once, as one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from minaction.objective.budget import Budget
from minaction.objective.lam import Fixed, LambdaRule


class StackedRules:
    """One lambda a run, from each run's own rule.

    Rules of one kind move on as one: constants not at all, budgets alike in all but their limits
    as a budget of vectors. Others are asked one after the other.

    Args:
        rules: One a run. Budgets are brought up to date by `settle`, all others by every step.
        device: Where lambda is wanted.
    """

    def __init__(self, rules: Sequence[LambdaRule], device: torch.device | str = "cpu") -> None:
        self._rules, self._device = rules, device
        self._budgets = [rule for rule in rules if isinstance(rule, Budget)]
        self._budget = None
        if len(self._budgets) == len(rules):
            self._budget = Budget.stacked(self._budgets, device)
        self._constant = self._values() if all(isinstance(r, Fixed) for r in rules) else None

    @property
    def value(self) -> float | Tensor:
        """Lambda for the next step, `[runs]`; the number 0 where it is that for all runs."""
        if self._budget is not None:
            return self._budget.value
        return self._values() if self._constant is None else self._constant

    def advance(self, task: Tensor, energy: Tensor) -> None:
        """Move on by one training step, whose task losses and energies `[runs]` these were."""
        if self._budget is not None:
            self._budget.advance(task, energy)
        elif self._constant is None:
            for rule, *observed in zip(self._rules, task, energy, strict=True):
                rule.advance(*observed)

    def settle(self) -> None:
        """Bring every run's own rule to where it stands here."""
        if self._budget is not None:
            self._budget.hand_back(self._budgets)

    def _values(self) -> float | Tensor:
        values = [float(rule.value) for rule in self._rules]
        return torch.tensor(values, device=self._device) if any(values) else 0.0
