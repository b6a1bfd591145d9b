"""The page of a search: the front to click on, the network it chose, every candidate."""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minaction.report import formatting as write
from minaction.report.build import REPORT_NAME, require_page_place
from minaction.report.figures_compared import GREY
from minaction.report.frame import naming_journal
from minaction.report.markup import cell, clean, row_heading, section, table
from minaction.report.page import commands, figure, header, page_of, sentences
from minaction.report.page_runs import Numbers, run_section
from minaction.report.page_tables import provenance_table, timing_content
from minaction.report.panels import Figure, Panel
from minaction.report.tables import Findings
from minaction.report.traces import Spec, log_axis, specification, style
from minaction.search.directory import (
    chosen_directory,
    load_search_directory,
    read_left_out,
)
from minaction.search.findings import (
    COUNTED,
    MEASURED,
    TESTED,
    compute_findings,
    label,
    metrics_of,
    reference_text,
    value_text,
)
from minaction.search.front import RESAMPLES, TRIAL_SEED
from minaction.search.objectives import OBJECTIVES
from minaction.search.search_file import Search
from minaction.study.directory import write_text_atomically
from minaction.study.journal import Record, latest_records

COMMANDS = (
    "minaction search search.toml --out DIR    # searches, or goes on",
    "minaction report DIR                      # makes this page",
    "minaction study verify DIR                # recomputes every number on it",
    "minaction report DIR/chosen-ID            # the study of the chosen network",
)
HEADINGS = {
    "test_accuracy": "test accuracy",
    "val_accuracy": "validation accuracy",
    "energy_activation": "raw energy, test split",
    "energy_gauge_fixed": "gauge-fixed energy, test split",
    "macs_dense": "MACs per sample",
    "parameters": "parameters",
}


def write_search_report(directory: str | Path, output: str | Path | None = None) -> Path:
    """Write the page of a search, finished or not, from its file and journals.

    Args:
        directory: The search's directory.
        output: Where to write the page; `report.html` in the directory by default.

    Returns:
        The page's path.

    Raises:
        StudyDirectoryError: The directory is missing or holds no search.
        StudyFileError: Its search file cannot be read.
        JournalError: A line of its journals cannot be read.
        InputError: The output's folder does not exist, or the output is a folder.
        StorageError: The disk refused the page; a page that was there before is intact.
    """
    path = Path(output) if output is not None else Path(directory) / REPORT_NAME
    require_page_place(path)
    search, findings, records = read_search(directory)
    drawn = figures(search, findings)
    page = page_of(search.name, body(search, findings, drawn), drawn, findings, records)
    write_text_atomically(path, page)
    return path


def read_search(directory: str | Path) -> tuple[Search, Findings, list[Record]]:
    """Return a search, what its journals give, and its own records.

    Raises:
        StudyDirectoryError, StudyFileError, JournalError: They cannot be read.
    """
    search, records = load_search_directory(directory), latest_records(directory)
    problems = read_left_out(directory) or []

    def final(run_id: str) -> list[Record]:
        there = chosen_directory(directory, run_id)
        return latest_records(there) if there.is_dir() else []

    with naming_journal(directory):
        return search, compute_findings(search, records, problems, final), records


def body(search: Search, findings: Findings, drawn: Sequence[Figure]) -> str:
    """Return everything a reader sees, most important first."""
    return "".join(
        [
            header(findings),
            "<main>\n",
            section("summary", "Findings", sentences("headlines", findings["headlines"])),
            section("warnings-title", "Warnings", sentences("warnings", findings["warnings"])),
            section("curves", "Front", *map(figure, drawn), front_table(search, findings)),
            section("chosen-title", "Chosen network", chosen_table(findings)),
            section("left-out", "Left out of the space", left_out_table(findings)),
            section("runs", "All runs", run_section(findings, columns(search))),
            section(
                "provenance",
                "Provenance",
                commands(findings, COMMANDS, "search.toml"),
                provenance_table(findings),
            ),
            section("timing", "Time", timing_content(findings)),
            "</main>\n",
        ]
    )


def columns(search: Search) -> Numbers:
    """Return the columns of the run table that show numbers."""
    named = {objective.metric: (name, objective) for name, objective in OBJECTIVES.items()}
    return {
        f"{MEASURED}{metric}": (
            named[metric][1].title,
            lambda value, name=named[metric][0]: value_text(name, value),
        )
        for metric in metrics_of(search)
    }


def figures(search: Search, findings: Findings) -> list[Figure]:
    """Return the front as a figure; none before there is a candidate that ended well."""
    names = search.search.objectives
    up = next((name for name in names if not OBJECTIVES[name].is_cost), names[-1])
    panels = []
    for number, across in enumerate(name for name in names if name != up):
        traces = [*_candidates(search, findings, across, up), *_members(findings, across, up)]
        if traces:
            panels.append(
                Panel(
                    id=f"front-{number}",
                    title=f"{OBJECTIVES[up].title} against {OBJECTIVES[across].title}",
                    spec=specification(traces, _axis(across), _axis(up)),
                )
            )
    if not panels:
        return []
    return [
        Figure(
            id="front",
            title="The front",
            caption=(
                "Each grey point is a candidate that ended well, tried with one seed; a click "
                "opens its record. Coloured points are the networks that no other dominated then, "
                "trained again with other seeds: means, of costs geometric ones, filled where they "
                "are on the front of means. A pointer on one says its membership, the share of "
                f"{RESAMPLES:,} bootstrap resamples of these seeds in which it is on the front. "
                "All is measured on the validation split. The larger symbol is the network that "
                "was chosen."
            ),
            panels=tuple(panels),
        )
    ]


def _candidates(search: Search, findings: Findings, across: str, up: str) -> list[Spec]:
    """Return the trace of what was tried with the one seed of the search."""
    places = [f"{MEASURED}{OBJECTIVES[name].metric}" for name in (across, up)]
    rows = [
        (index, run)
        for index, run in enumerate(findings["runs"])
        if run["seed"] == TRIAL_SEED and run["status"] == "ok" and all(run[key] for key in places)
    ]
    if not rows:
        return []
    marker = {"color": GREY, "size": 7, "symbol": "circle-open"}
    return [
        {
            **_points("candidates, one seed", marker),
            "x": [_shown(across, run[places[0]]) for _, run in rows],
            "y": [_shown(up, run[places[1]]) for _, run in rows],
            "customdata": [html.escape(clean(label(search, run))) for _, run in rows],
            "meta": [{"run_id": run["run_id"], "index": index} for index, run in rows],
        }
    ]


def _members(findings: Findings, across: str, up: str) -> list[Spec]:
    """Return the traces of the networks that were trained again."""
    members = findings["front"]["members"] if findings["front"] else []
    places = {run["run_id"]: index for index, run in enumerate(findings["runs"])}
    traces = []
    for chosen, group in itertools.groupby(
        sorted(members, key=lambda one: one["chosen"]), key=lambda one: one["chosen"]
    ):
        of = list(group)
        look = style(int(chosen))["marker"]
        symbols = [look["symbol"] + ("" if one["on_front"] else "-open") for one in of]
        marker = {**look, "symbol": symbols, "size": 14 if chosen else 9}
        traces.append(
            {
                **_points("chosen" if chosen else "confirmed, mean over seeds", marker),
                "x": [_shown(across, one["values"][across]) for one in of],
                "y": [_shown(up, one["values"][up]) for one in of],
                "customdata": [
                    f"{html.escape(clean(one['label']))}<br>membership "
                    f"{write.fraction(one['membership'])}"
                    for one in of
                ],
                "meta": [{"run_id": one["run_id"], "index": places[one["run_id"]]} for one in of],
            }
        )
    return traces


def _points(name: str, marker: Spec) -> Spec:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "showlegend": True,
        "marker": marker,
        "hovertemplate": "%{customdata}<br>%{x:.4~g}<br>%{y:.4~g}<extra>%{fullData.name}</extra>",
    }


def _shown(name: str, value: float) -> float:
    return value if OBJECTIVES[name].is_cost else 100 * value


def _axis(name: str) -> Spec:
    objective = OBJECTIVES[name]
    if objective.is_cost:
        return log_axis(f"{objective.title} (log)")
    return {"title": {"text": f"{objective.title} (%)"}}


def front_table(search: Search, findings: Findings) -> str:
    """Return the networks that were trained again; nothing before they were."""
    front = findings["front"]
    if front is None:
        return ""
    names = list(dict.fromkeys((*search.search.objectives, "accuracy")))
    rows = [
        [
            row_heading(f"front.members.{index}.label", member["label"]),
            *(
                cell(f"front.members.{index}.{path}", value_text(name, value))
                for name, path, value in _values(member, names)
            ),
            cell(f"front.members.{index}.on_front", "yes" if member["on_front"] else "no"),
            cell(f"front.members.{index}.membership", write.fraction(member["membership"])),
            cell(f"front.members.{index}.run_id", member["run_id"], kind="hash"),
        ]
        for index, member in enumerate(front["members"])
    ]
    area = front["hypervolume"]
    return table(
        f"Front over {front['seeds']} seeds other than that of the search",
        ["network", *(OBJECTIVES[n].title for n in names), "on front", "membership", "tried as"],
        rows,
        path="front",
        shaded=[member["chosen"] for member in front["members"]],
        note=(
            f"Hypervolume {write.number(area['estimate'])}, 95 % interval "
            f"{write.number(area['low'])} to {write.number(area['high'])} over seeds, in decades "
            "of each cost times percentage points of accuracy, measured from "
            f"{reference_text(front['reference'])}. The shaded row is chosen by the rule "
            f"{findings['study']['rule']}, margin {write.margin(findings['study']['margin'])}."
        ),
    )


def _values(member: dict[str, Any], names: Sequence[str]) -> list[tuple[str, str, float]]:
    """Return name, place and value of what a row of the front shows."""
    return [
        (name, f"values.{name}", member["values"][name])
        if name in member["values"]
        else (name, "val_accuracy", member["val_accuracy"])
        for name in names
    ]


def chosen_table(findings: Findings) -> str:
    """Return what the chosen network was measured to be; nothing before it was chosen."""
    chosen = findings["chosen"]
    if chosen is None:
        return ""
    rows = []
    for name in TESTED:
        at, found = f"chosen.measured.{name}", chosen["measured"][name]
        writer = write.accuracy if name.endswith("accuracy") else write.number
        interval = write.bounds(found, writer) if found["n"] else ""
        rows.append(
            [
                row_heading(at, HEADINGS[name]),
                cell(at, write.optional(found["estimate"], writer), interval),
                cell(f"{at}.n", write.count(found["n"])),
            ]
        )
    for name in COUNTED:
        at = f"chosen.counted.{name}"
        value = write.optional(chosen["counted"][name], write.count)
        rows.append([row_heading(at, HEADINGS[name]), cell(at, value), cell(at, "")])
    return table(
        chosen["label"],
        ["quantity", "mean", "seeds"],
        rows,
        path="chosen.label",
        note=(
            f"{chosen['ok']} of {chosen['seeds']} runs are ok, with seeds that played no part in "
            "the search, in the study beside this page. Second lines are 95 % t intervals over "
            "seeds, those of accuracies taken on the logit scale. The test split was read here for "
            "the first time."
        ),
    )


def left_out_table(findings: Findings) -> str:
    """Return why architectures cannot be tried; nothing where all can."""
    rows = [
        [
            row_heading(f"left_out.{index}.reason", one["reason"]),
            cell(f"left_out.{index}.architectures", write.count(one["architectures"])),
        ]
        for index, one in enumerate(findings["left_out"])
    ]
    columns = ["reason", "architectures"]
    return (
        table("Architectures that cannot be tried", columns, rows, path="left_out") if rows else ""
    )
