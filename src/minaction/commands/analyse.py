"""`minaction analyse`."""

from __future__ import annotations

import typer

from minaction.commands.options import AsJson, StudyDir, print_json


def analyse(directory: StudyDir, as_json: AsJson = False) -> None:
    """Say what a study shows: tests, effect sizes, verdicts.

    From the journal: the analysis of variance of accuracy and of the logit of the
    error, with effect sizes, robust tests and checks of assumptions; the lambda
    tables; training efficiency; which models differ; a verdict on each of the
    reference study's three findings, with its rule; and what to beware of.
    """
    from minaction.report.analysis.analyse import analyse as analysed
    from minaction.report.analysis.text import analysis_text

    found = analysed(directory)
    if as_json:
        print_json(found)
        return
    for line in analysis_text(found):
        typer.echo(line)
