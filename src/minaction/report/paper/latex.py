"""Text for LaTeX: everything that comes from names, numbers and errors is escaped here."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",
    "`": r"\textasciigrave{}",
    "\u2013": "--",
    "\u2014": "---",
    "\u2026": r"\dots{}",
    "\u2212": "$-$",
    "\u00d7": r"$\times$",
    "\u221e": r"$\infty$",
    "\u00b7": r"$\cdot$",
    "\u00b1": r"$\pm$",
    "\u00b2": r"\textsuperscript{2}",
    "\u00b0": r"$^\circ$",
    "\u00b5": r"$\mu$",
    "\u00a0": "~",
    "\u00df": r"\ss{}",
    "\u00e6": r"\ae{}",
    "\u00c6": r"\AE{}",
    "\u00f8": r"\o{}",
    "\u00d8": r"\O{}",
    "\u2018": "`",
    "\u2019": "'",
    "\u201c": "``",
    "\u201d": "''",
}
"""How characters are written that LaTeX reads otherwise or that its fonts lack.
"""

JOINED = "-',"
"""Characters of which LaTeX joins two into another one."""

POWER = re.compile(r"([0-9][0-9.,]*)e(-?[0-9]+)")
"""A number with a power of ten, as `formatting` writes it."""

ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r ",
    "\u030c": "v ",
    "\u0327": "c ",
}
"""LaTeX's accents by the combining character that Unicode has for them."""

GREEK = "GREEK SMALL LETTER "
LETTERS = {
    name.upper(): rf"$\{name}$"
    for name in (
        *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"),
        *("mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega"),
    )
} | {"LAMDA": r"$\lambda$"}
"""Greek letters by their Unicode name."""


def escape(text: object) -> str:
    """Return text that any LaTeX writes as it is, as one line of ASCII.

    Characters that need a font of their own, such as emoji, are written as `U+1F600`; what cannot
    be printed, white space aside, as the replacement `?`.
    """
    whole = unicodedata.normalize("NFC", str(text).encode("utf-8", "replace").decode("utf-8"))
    return "".join(
        "{}" * (one in JOINED and one == before) + character(one)
        for before, one in zip(f" {whole}", whole, strict=False)
    )


def number(text: str) -> str:
    """Return a written number for LaTeX, `1.20e-5` as a power of ten."""
    parts, end = [], 0
    for found in POWER.finditer(text):
        times = "" if found[1] == "1" else rf"{found[1]}\times "
        parts += [escape(text[end : found.start()]), rf"${times}10^{{{found[2]}}}$"]
        end = found.end()
    return "".join([*parts, escape(text[end:])])


def character(one: str) -> str:
    """Return one character for LaTeX."""
    if one in SPECIAL:
        return SPECIAL[one]
    if one.isascii():
        return one if one.isprintable() else " " if one.isspace() else "?"
    name = unicodedata.name(one, "")
    if name.startswith(GREEK) and name.removeprefix(GREEK) in LETTERS:
        return LETTERS[name.removeprefix(GREEK)]
    base, *marks = unicodedata.normalize("NFD", one)
    if len(marks) == 1 and marks[0] in ACCENTS and base.isascii():
        return rf"\{ACCENTS[marks[0]]}{{{base}}}"
    return rf"\texttt{{U+{ord(one):04X}}}"


LONGEST = 45
"""Rows that a table may have on one page."""


BREAK = "\n"
"""Parts the lines of a heading."""


def tabular(
    headings: Sequence[str], groups: Sequence[tuple[str, Sequence[Sequence[str]]]], alignment: str
) -> str:
    """Return a table in the style of booktabs, without a float around it.

    Args:
        headings: Of the columns, for LaTeX, in lines parted by `BREAK`.
        groups: Rows, for LaTeX, under a heading, which is left out where it is empty.
        alignment: A letter of LaTeX per column.

    Returns:
        A `tabular`, or a `longtable` where there are more rows than fit on a page.
    """
    long = sum(len(rows) + bool(heading) for heading, rows in groups) > LONGEST
    kind, packages = ("longtable", "booktabs, longtable") if long else ("tabular", "booktabs")
    body: list[str] = []
    for number, (heading, rows) in enumerate(groups):
        if number:
            body.append(r"\addlinespace")
        if heading:
            body.append(rf"\multicolumn{{{len(headings)}}}{{l}}{{\emph{{{heading}}}}} \\")
        body += [line(row) for row in rows]
    head = [r"\toprule", *heading_lines(headings), r"\midrule", *([r"\endhead"] if long else [])]
    return "\n".join(
        [
            f"% needs the packages {packages} and textcomp",
            rf"\begin{{{kind}}}{{{alignment}}}",
            *head,
            *body,
            r"\bottomrule",
            rf"\end{{{kind}}}",
            "",
        ]
    )


def heading_lines(headings: Sequence[str]) -> list[str]:
    """Return the lines of the headings: two where one is written in two, the last at the bottom."""
    parts = [heading.split(BREAK) for heading in headings]
    depth = max(map(len, parts))
    filled = [[""] * (depth - len(part)) + part for part in parts]
    return [line([part[row] for part in filled]) for row in range(depth)]


def line(cells: Sequence[str]) -> str:
    """Return one line of a table, kept from being read as an option of the line break before."""
    first = "{}" if cells[0].startswith(("[", "*")) else ""
    return first + " & ".join(cells) + r" \\"
