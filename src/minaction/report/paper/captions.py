"""Captions of a paper's figures and tables: as macros for LaTeX, and to read as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from minaction.report import formatting as write
from minaction.report.paper.drawing import Missing
from minaction.report.paper.latex import escape

_MARKDOWN = re.compile(r"([\\`*_\[\]<>#|~&$])")


@dataclass(frozen=True, kw_only=True)
class Captioned:
    """A figure or table that was made.

    Attributes:
        kind: `figure` or `table`.
        name: Of its files.
        caption: Plain text.
    """

    kind: str
    name: str
    caption: str


def latex_captions(made: Iterable[Captioned]) -> str:
    r"""Return one macro per caption, such as `\captionFigureAccuracy`."""
    lines = [rf"\newcommand{{\{macro(one)}}}{{{escape(one.caption)}}}" for one in made]
    return "\n".join([r"% \input this file, then \caption{\captionFigure...}", *lines, ""])


def macro(one: Captioned) -> str:
    """Return the name of a caption's macro; macros have letters only."""
    parts = (one.kind, *one.name.split("-"))
    return "caption" + "".join(part.capitalize() for part in parts if part)


def markdown_captions(
    study: str,
    progress: str,
    made: Sequence[Captioned],
    missing: Sequence[Missing],
    warnings: Sequence[str],
) -> str:
    """Return the captions with what the study does not allow, and what to beware of.

    Args:
        study: The study's name.
        progress: How many of its runs are done.
        made: What was made.
        missing: What was not, and why.
        warnings: Sentences.
    """
    lines = [f"# Figures and tables of {marked(study)}", "", marked(progress)]
    for one in made:
        lines += ["", f"## {one.kind.capitalize()}: {one.name}", "", marked(one.caption)]
    lines += section("What this study does not allow", [f"{m.name}: {m.reason}" for m in missing])
    lines += section("What to beware of", warnings)
    return "\n".join([*lines, ""])


def section(title: str, sentences: Sequence[str]) -> list[str]:
    """Return a heading with a list below it, nothing where that is empty."""
    items = [f"- {marked(one)}" for one in sentences]
    return ["", f"## {title}", "", *items] if items else []


def marked(text: str) -> str:
    """Return plain text that Markdown shows as it is, in one line."""
    whole = " ".join(str(write.short(text)).split()) if len(text) > MOST else " ".join(text.split())
    return _MARKDOWN.sub(r"\\\1", whole.encode("utf-8", "replace").decode("utf-8"))


MOST = 4_000
"""Characters of a sentence above which it is cut."""
