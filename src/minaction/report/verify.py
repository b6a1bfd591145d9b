"""Does the report still say what the journal says? Every number is recomputed and compared."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

from minaction.errors import InputError
from minaction.report import formatting as write
from minaction.report.build import REPORT_NAME
from minaction.report.figures import figures
from minaction.report.frame import naming_journal
from minaction.report.markup import PACKED, unpack
from minaction.report.page import FIGURE_CLASS, FINDINGS_ID, body, data_blocks
from minaction.report.panels import Figure
from minaction.report.records import RECORDS_CLASS
from minaction.report.tables import SCHEMA, Findings, compute_findings
from minaction.study.design import RunConfig, baseline_of, run_id, runs
from minaction.study.directory import load_study_directory
from minaction.study.journal import Record, RunStatus, latest_records, repeated_runs
from minaction.study.measurements import read_measurements
from minaction.study.study_file import BUDGET, Study

RELATIVE_TOLERANCE = 1e-9
"""Room for another build of numpy or scipy; a changed digit on the page is far above it."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A place where the stored report or journal does not hold.

    Attributes:
        path: Where: a path in the findings, `page: …` for what a reader sees, `plot …` for a
            figure's data, `record …` for a run's record on the page, `journal: …` for a record or
            its lines.
        stored: What is there, `ABSENT` where nothing is.
        recomputed: What should be there, `ABSENT` where nothing should.
    """

    path: str
    stored: Any
    recomputed: Any


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The outcome of `verify_report`.

    Attributes:
        checked: How many values were compared.
        differences: Every one that does not hold: repeated runs, then in the order of the page,
            then the journal's records.
        warnings: What the reader is warned of on a page made now.
    """

    checked: int
    differences: list[Difference]
    warnings: list[str]


def verify_report(directory: str | Path, page: str | Path | None = None) -> Verification:
    """Recompute every number of a study's report from its journal and measurements, and compare.

    Compared are the findings embedded in the page, the data of its plots, the records of its runs,
    and every table cell and sentence as a reader sees it; and of the journal that no run was
    recorded again after it was finished, that each run's id is the hash of its configuration, that
    the run belongs to the design, that it was made under this study file with this `[analysis]` (a
    rule changed after the first run is a difference), and that a budget's target comes from a
    recorded run at lambda 0.

    Args:
        directory: The study's directory.
        page: The page to check; `report.html` in the directory by default.

    Raises:
        InputError: There is no page, or the file is no report of this program or of another
            version of it.
        StudyDirectoryError, StudyFileError, JournalError: The study cannot be read.
    """
    study, records = load_study_directory(directory), latest_records(directory)
    path = Path(page) if page is not None else Path(directory) / REPORT_NAME
    stored, measurements = read_page(path, directory), read_measurements(directory)
    with naming_journal(directory):
        findings = compute_findings(study, records, measurements)
    checks = [
        *check_lines(directory),
        *compare_pages(stored, expected_content(findings, records)),
        *check_journal(study, records),
    ]
    return verification(checks, findings["warnings"])


def verification(checks: Sequence[Check], warnings: list[str]) -> Verification:
    """Return the outcome of checks."""
    differences = [found for found in checks if found is not None]
    return Verification(checked=len(checks), differences=differences, warnings=warnings)


def compare_pages(stored: PageContent, fresh: PageContent) -> Iterator[Check]:
    """Yield one check per number, text and record of two pages."""
    yield from compare_json("", stored.findings, fresh.findings)
    yield from compare_json("plot ", stored.plots, fresh.plots)
    yield from compare_json("record ", stored.records, fresh.records)
    yield from compare_cells(stored.cells, fresh.cells)


class PageReader(HTMLParser):
    """Reads a report: its blocks of JSON, and every visible cell with the path it is bound to.

    Attributes:
        blocks: Text of each block, unpacked, by id, in the order of the page.
        plots: Ids of the blocks that hold the data of a plot.
        packs: Ids of the blocks that hold packed records.
        cells: (path, text as displayed) of everything bound to a finding, in order.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: dict[str, str] = {}
        self.plots: list[str] = []
        self.packs: list[str] = []
        self.cells: list[tuple[str, str]] = []
        self._block: str | None = None
        self._cell: tuple[str, str] | None = None
        self._text: list[str] = []
        self._packed = False
        self._keys: list[str] = []
        self._row: str | None = None
        self._at = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a block or a cell."""
        given = dict(attrs)
        kind = given.get("type")
        if tag == "script" and kind in ("application/json", PACKED):
            self._block, self._text, self._packed = given.get("id") or "", [], kind == PACKED
            if given.get("class") == FIGURE_CLASS:
                self.plots.append(self._block)
            elif given.get("class") == RECORDS_CLASS:
                self.packs.append(self._block)
        elif path := given.get("data-path") or self._path_in_row(tag, given):
            self._cell, self._text = (tag, path), []

    def _path_in_row(self, tag: str, given: dict[str, str | None]) -> str | None:
        """Return the path of a cell that its row and its column's heading give together."""
        if tag == "thead":
            self._keys = []
        elif key := given.get("data-key"):
            self._keys.append(key)
        elif tag == "tr":
            self._row, self._at = given.get("data-row"), 0
        elif tag == "td" and self._row:
            key = self._keys[self._at] if self._at < len(self._keys) else str(self._at)
            self._at += 1
            return f"{self._row}.{key}"
        return None

    def handle_data(self, data: str) -> None:
        """Collect the text of the block or cell that is open."""
        if self._block is not None or self._cell is not None:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        """End a block or a cell."""
        if tag == "script" and self._block is not None:
            text = "".join(self._text)
            self.blocks[self._block] = unpack(text) if self._packed else text
            self._block = None
        elif self._cell is not None and tag == self._cell[0]:
            self.cells.append((self._cell[1], " ".join("".join(self._text).split())))
            self._cell = None


@dataclass(frozen=True, kw_only=True)
class PageContent:
    """What a page says: its findings, plots by id, records by run id, its visible cells."""

    findings: dict[str, Any]
    plots: dict[str, Any]
    records: dict[str, Any]
    cells: list[tuple[str, str]]


def read_page(path: Path, directory: str | Path) -> PageContent:
    """Return the content of a stored page.

    Raises:
        InputError: There is no page, or the file is no report of this program or of another
            version of it.
    """
    remedy = f"run `minaction report {directory}`"
    try:
        page = parse_page(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no report there; {remedy}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); {remedy}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{path}: not a minAction report, or damaged; {remedy}") from None
    if page.findings.get("schema", SCHEMA) != SCHEMA:
        raise InputError(f"{path}: made by another version of minaction; {remedy}")
    return page


def expected_content(findings: Findings, records: Sequence[Record]) -> PageContent:
    """Return the content of a page made now, without packing what would be unpacked again."""
    drawn = figures(findings)
    return content_of(body(findings, drawn), drawn, findings, records)


def content_of(
    visible: str, drawn: Sequence[Figure], findings: Findings, records: Sequence[Record]
) -> PageContent:
    """Return the content of a page that is made of these, without its style and scripts."""
    content = parse_page(visible + data_blocks(findings, drawn))
    found = {record.run_id: record for record in records}
    listed = {str(run["run_id"]): found[run["run_id"]] for run in findings["runs"]}
    portable = {name: json.loads(record.to_line()) for name, record in listed.items()}
    return replace(content, records=portable)


def parse_page(text: str) -> PageContent:
    """Return the content of a page.

    Raises:
        ValueError: A block is not JSON, the findings are no object, or records cannot be unpacked.
        KeyError, TypeError: There is no block of findings, or records are no records.
    """
    reader = PageReader()
    reader.feed(text)
    reader.close()
    findings = json.loads(reader.blocks[FINDINGS_ID])
    if not isinstance(findings, dict):
        raise ValueError("findings: expected an object")
    plots = {name: json.loads(reader.blocks[name]) for name in reader.plots}
    records = {
        str(record["run_id"]): record
        for name in reader.packs
        for record in json.loads(reader.blocks[name])
    }
    return PageContent(findings=findings, plots=plots, records=records, cells=reader.cells)


ABSENT = "(nothing)"

Check = Difference | None
"""One comparison made; None where both sides agree."""


def check(path: str, stored: Any, recomputed: Any) -> Check:
    """Compare two values, numbers up to rounding."""
    if same(stored, recomputed):
        return None
    return Difference(path=path, stored=stored, recomputed=recomputed)


def same(stored: Any, recomputed: Any) -> bool:
    """Return whether two leaves agree, numbers up to `RELATIVE_TOLERANCE`."""
    if type(stored) in (int, float) and type(recomputed) in (int, float):
        try:
            return math.isclose(stored, recomputed, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-12)
        except OverflowError:  # an integer no float can hold
            return stored == recomputed
    return type(stored) is type(recomputed) and stored == recomputed


def compare_json(path: str, stored: Any, recomputed: Any) -> Iterator[Check]:
    """Yield one check per leaf of two JSON values."""
    if isinstance(stored, dict) and isinstance(recomputed, dict):
        for key in dict.fromkeys([*recomputed, *stored]):
            pair = stored.get(key, ABSENT), recomputed.get(key, ABSENT)
            yield from compare_json(join(path, key), *pair)
    elif isinstance(stored, list) and isinstance(recomputed, list):
        for index in range(max(len(stored), len(recomputed))):
            pair = (part[index] if index < len(part) else ABSENT for part in (stored, recomputed))
            yield from compare_json(join(path, str(index)), *pair)
    else:
        yield check(path, stored, recomputed)


def join(path: str, key: str) -> str:
    """Return the path of a part."""
    return f"{path}{key}" if not path or path.endswith(" ") else f"{path}.{key}"


def compare_cells(
    stored: Sequence[tuple[str, str]], recomputed: Sequence[tuple[str, str]]
) -> Iterator[Check]:
    """Yield one check per visible text, matched by path and, within it, by order."""
    there, here = by_path(stored), by_path(recomputed)
    for path in dict.fromkeys([*here, *there]):
        shown, expected = there.get(path, []), here.get(path, [])
        for pair in itertools.zip_longest(shown, expected, fillvalue=ABSENT):
            yield check(f"page: {path}", *pair)


def by_path(cells: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the texts shown for each path, in the order of the page."""
    texts: dict[str, list[str]] = {}
    for path, text in cells:
        texts.setdefault(path, []).append(text)
    return texts


def check_lines(directory: str | Path) -> Iterator[Check]:
    """Yield a difference for every run that the journal has in more than one finished line."""
    for name, lines in repeated_runs(directory).items():
        found = f"lines {', '.join(map(str, lines[:-1]))} and {lines[-1]}"
        yield check(f"journal: {name} finished in", found, "one line")


def check_journal(study: Study, records: Sequence[Record]) -> Iterator[Check]:
    """Yield the checks of each record against its own configuration and against the study."""
    design = {run_id(config) for config in runs(study)}
    expected = {"study_sha256": study.sha256, "analysis_sha256": study.analysis_sha256}
    found = {record.run_id: record for record in records}
    for record in records:
        at = f"journal: {write.short(record.run_id)}"
        yield check(f"{at} run_id", record.run_id, hash_of(record.config))
        yield check(f"{at} in the design", record.run_id in design, True)
        for name, value in expected.items():
            yield check(f"{at} {name}", record.provenance.get(name), value)
        if record.config.get("lam") == BUDGET and record.status is not RunStatus.FAILED:
            yield check(f"{at} baseline", has_baseline(record, found), True)


def has_baseline(record: Record, found: Mapping[str, Record]) -> bool:
    """Return whether a budget's target comes from the recorded `ok` run it is to be compared to."""
    name = record.provenance.get("baseline")
    baseline = found.get(str(name))
    if baseline is None or baseline.status is not RunStatus.OK:
        return False
    return name == hash_of({**baseline_of(cast(RunConfig, record.config))})


def hash_of(config: dict[str, Any]) -> str | None:
    """Return the run id of a configuration, None for one that can have none."""
    try:
        return run_id(cast(RunConfig, config))
    except (TypeError, ValueError, OverflowError):
        return None
