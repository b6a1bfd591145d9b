"""Records changed in one place, and curves that reach a target."""

from __future__ import annotations

from dataclasses import replace

import pytest

from minaction.report.analysis.analyse import compute_analysis
from minaction.report.frame import run_frame


class Analyst:
    """Makes studies with `make`, changes their records, and analyses them."""

    def __init__(self, make):
        self.make = make

    def analysis(self, text, seeds=4, change=None):
        study = self.make.study(text, seeds)
        return compute_analysis(study, self.make.records(study, change))

    def frame(self, text, seeds=4, change=None):
        study = self.make.study(text, seeds)
        return study, run_frame(study, self.make.records(study, change))

    def measured(self, record, **metrics):
        """The record with other measurements."""
        return replace(record, metrics=record.metrics | metrics)

    def trained(self, record, steps, macs=1000):
        """The record of a run that reaches any target at a step of its own, of 100."""
        late = steps + 10 * (record.config["seed"] % 3)
        history = [
            {"step": step, "train_seconds": step / 10, "val_accuracy": 0.9 * (step >= late)}
            for step in range(10, 101, 10)
        ]
        metrics = {"val_accuracy": 0.9, "train_macs_per_step": macs}
        return replace(self.measured(record, **metrics), history=history)


@pytest.fixture
def analyst(make):
    return Analyst(make)
