"""From a study directory to the figures and tables of a paper."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minaction.errors import InputError
from minaction.report.frame import naming_journal
from minaction.report.paper.anova_table import anova_tables
from minaction.report.paper.canvas import WIDTHS, pdf
from minaction.report.paper.captions import Captioned, latex_captions, markdown_captions
from minaction.report.paper.drawing import Drawing, Missing, sheets
from minaction.report.paper.effects import effect_drawings, gain_drawings
from minaction.report.paper.folder import check_place, replace_folder
from minaction.report.paper.interaction import interaction_drawings
from minaction.report.paper.lambda_curves import lambda_drawings
from minaction.report.paper.pareto import pareto_drawings
from minaction.report.paper.table import PaperTable, as_csv, as_latex
from minaction.report.paper.tables import (
    cost_table,
    count_table,
    gain_table,
    lambda_rows,
    letter_table,
    pareto_tables,
)
from minaction.report.paper.target_cost import cost_drawings
from minaction.report.tables import Findings, compute_findings
from minaction.study.directory import load_study_directory
from minaction.study.journal import latest_records


@dataclass(frozen=True, kw_only=True)
class Paper:
    """What `write_paper` made.

    Attributes:
        folder: Where.
        figures: Names of the figures, each in every width.
        tables: Names of the tables, each as LaTeX and CSV.
        missing: What the study does not allow, and why.
    """

    folder: Path
    figures: Sequence[str]
    tables: Sequence[str]
    missing: Sequence[Missing]


def write_paper(directory: str | Path, output: str | Path) -> Paper:
    """Write a study's figures as vector PDFs, its tables as LaTeX and CSV, and their captions.

    The folder gets `figures/one-column/NAME.pdf` (3.4 inches wide) and
    `figures/two-columns/NAME.pdf` (7 inches), `tables/NAME.tex` and `NAME.csv`, `captions.tex` (a
    macro each) and `captions.md`, and `manifest.json`, the checksums of all. It is written whole or
    not at all; the same study and records give the same bytes. The numbers are those of the page
    and of the analysis.

    Args:
        directory: The study's directory; nothing is written to it.
        output: The folder. One that is there must be empty or as this function left it.

    Raises:
        StudyDirectoryError, StudyFileError, JournalError: The study cannot be read.
        InputError: The folder cannot be used, or the study allows no figure: no setting has two
            runs that are ok, so that no number has an interval.
        StorageError: The disk refused; what was in the folder before is intact.
    """
    folder = Path(output)
    check_place(folder)
    study, records = load_study_directory(directory), latest_records(directory)
    with naming_journal(directory):
        findings = compute_findings(study, records)
    if reason := why_none(findings):
        raise InputError(f"{directory}: {reason}")
    analysis = findings["analysis"]
    drawings, tables = list(all_drawings(findings, analysis)), list(all_tables(findings, analysis))
    figures = [sheet for one in drawings if isinstance(one, Drawing) for sheet in sheets(one)]
    printed = [one for one in tables if isinstance(one, PaperTable)]
    missing = [
        *(one for one in drawings if isinstance(one, Missing)),
        *(one for one in tables if isinstance(one, Missing)),
    ]
    made = [
        *(Captioned(kind="figure", name=one.name, caption=one.caption) for one in figures),
        *(Captioned(kind="table", name=one.name, caption=one.caption) for one in printed),
    ]
    captions = markdown_captions(
        study.name, findings["headlines"][0], made, reasons(missing), findings["warnings"]
    )
    files = {
        **{
            f"figures/{width}/{one.name}.pdf": pdf(one, inches)
            for one in figures
            for width, inches in WIDTHS.items()
        },
        **{f"tables/{one.name}.tex": as_latex(one).encode() for one in printed},
        **{f"tables/{one.name}.csv": as_csv(one).encode() for one in printed},
        "captions.tex": latex_captions(made).encode(),
        "captions.md": captions.encode(),
    }
    about = {"study": study.name, "study_sha256": study.sha256}
    replace_folder(folder.resolve(), files, about)  # `.` has no name to put another one beside
    return Paper(
        folder=folder,
        figures=[one.name for one in figures],
        tables=[one.name for one in printed],
        missing=reasons(missing),
    )


def why_none(findings: Findings) -> str:
    """Return why a study allows no figure, or an empty string."""
    counts = findings["counts"]
    if not counts["recorded"]:
        return "no run is done, so there is nothing to draw"
    if not counts["statuses"]["ok"]:
        return "no run is ok, so there is nothing to draw; `minaction study status` says why"
    rows = [row for table in findings["lambda_tables"] for row in table["rows"]]
    if all(row["test_accuracy"]["low"] is None for row in rows):
        return (
            "no setting has two ok runs, so no figure can have error bars; run more seeds, or see "
            "the page of `minaction report`"
        )
    return ""


def all_drawings(findings: Findings, analysis: dict[str, Any]) -> Iterator[Drawing | Missing]:
    """Yield every figure, or why the study does not allow it."""
    yield from lambda_drawings(findings)
    yield from pareto_drawings(findings)
    yield from interaction_drawings(findings)
    yield from effect_drawings(analysis["factorial"])
    yield from cost_drawings(findings)
    yield from gain_drawings(analysis["efficiency"])


def all_tables(findings: Findings, analysis: dict[str, Any]) -> Iterator[PaperTable | Missing]:
    """Yield every table, or why the study does not allow it."""
    yield count_table(findings)
    yield lambda_rows(findings)
    yield from anova_tables(analysis["factorial"])
    yield from letter_table(analysis["posthoc"])
    yield from pareto_tables(findings)
    yield cost_table(findings)
    yield gain_table(analysis["efficiency"])


def reasons(missing: Iterable[Missing]) -> list[Missing]:
    """Return what is missing, each name once."""
    return list({one.name: one for one in missing}.values())
