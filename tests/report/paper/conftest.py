"""Studies as figures and tables, without the cost of their PDFs."""

from __future__ import annotations

import pytest

from minaction.report.analysis.analyse import compute_analysis
from minaction.report.paper.drawing import Drawing
from minaction.report.paper.table import PaperTable
from minaction.report.paper.write import all_drawings, all_tables
from minaction.report.tables import compute_findings

MODALITIES = """
[study]
name = "modalities"
seeds = {seeds}
[factors]
dataset = ["digits", "docstrings"]
model = ["mlp", "dual-pathway"]
lam = [0, 1e-3]
"""


class Press:
    """Makes studies with `make` and what a paper shows of them."""

    modalities = MODALITIES

    def __init__(self, make):
        self.make = make
        self.known = {}

    def results(self, text, seeds=4, change=None):
        """Findings and analysis, computed once for each study."""
        key = (text, seeds, getattr(change, "__qualname__", None))
        if key not in self.known:
            study = self.make.study(text, seeds)
            records = self.make.records(study, change)
            self.known[key] = compute_findings(study, records), compute_analysis(study, records)
        return self.known[key]

    def drawings(self, text, seeds=4, change=None):
        """The figures by name, the missing ones as well."""
        return {one.name: one for one in all_drawings(*self.results(text, seeds, change))}

    def tables(self, text, seeds=4, change=None):
        """The tables by name, the missing ones as well."""
        return {one.name: one for one in all_tables(*self.results(text, seeds, change))}

    def drawn(self, found):
        return [name for name, one in found.items() if isinstance(one, Drawing | PaperTable)]


@pytest.fixture(scope="module")
def press(make_once):
    return Press(make_once)
