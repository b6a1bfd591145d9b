from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minaction.report.paper.latex import escape, number, tabular

NASTY = "a_b%c&d#e{f}g\\h<i>j$k^l~m|n\"o'p`q--r,,s''t\u2014\u03bb\u00e9\U0001f600\x00\n\u202e"


def read_back(text: str) -> str:
    """Text of what `escape` wrote, by undoing every command it knows."""
    commands = {
        r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^",
        r"\textless{}": "<", r"\textgreater{}": ">", r"\textbar{}": "|", r"\char34{}": '"',
        r"\textasciigrave{}": "`", r"\{": "{", r"\}": "}", r"\$": "$", r"\&": "&", r"\#": "#",
        r"\%": "%", r"\_": "_",
    }  # fmt: skip
    pattern = "|".join(map(re.escape, commands))
    parts = re.split(f"({pattern})", text)
    return "".join(commands.get(part, part.replace("{}", "")) for part in parts)


def assert_inert(text: str) -> None:
    """No character that LaTeX acts on stands alone, and every group is closed."""
    assert text.isascii()
    assert "\n" not in text
    bare = re.sub(r"\\([a-zA-Z]+|[^a-zA-Z])", " ", text)
    assert not re.search(r"[&%#_\"|<>`]", bare)
    depth = 0
    for one in bare:
        depth += (one == "{") - (one == "}")
        assert depth >= 0
    assert depth == 0
    assert bare.count("$") % 2 == 0


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126)))
def test_printable_ascii_comes_back(text):
    assert read_back(escape(text)) == text


@given(st.text())
def test_no_text_is_read_as_a_command(text):
    assert_inert(escape(text))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a_b & 50 %", r"a\_b \& 50 \%"),
        ("\\input{x}", r"\textbackslash{}input\{x\}"),
        ("a--b", "a-{}-b"),
        ("\u03bb = 0 \u2014 \u22121", r"$\lambda$ = 0 --- $-$1"),
        ("\u00e9\u00c7\u0161", r"\'{e}\c {C}\v {s}"),
        ("\U0001f600", r"\texttt{U+1F600}"),
        ("a\nb\x00", "a b?"),
        ("?`", r"?\textasciigrave{}"),
    ],
)
def test_what_latex_would_read_otherwise_is_written_out(text, written):
    assert escape(text) == written


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("1.20e-5", r"$1.20\times 10^{-5}$"),
        ("1e-3", "$10^{-3}$"),
        ("5,918 [3.1e5, \u221e]", r"5,918 [$3.1\times 10^{5}$, $\infty$]"),
        ("< 0.001", r"\textless{} 0.001"),
        ("\u2014", "---"),
    ],
)
def test_powers_of_ten_are_mathematics(text, written):
    assert number(text) == written


def test_a_table_in_the_style_of_booktabs():
    text = tabular(["model", "accuracy\n(\\%)"], [("mnist", [["mlp", "97.2"]]), ("", [])], "lr")
    assert text.splitlines()[1:] == [
        r"\begin{tabular}{lr}",
        r"\toprule",
        r" & accuracy \\",
        r"model & (\%) \\",
        r"\midrule",
        r"\multicolumn{2}{l}{\emph{mnist}} \\",
        r"mlp & 97.2 \\",
        r"\addlinespace",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_more_rows_than_fit_on_a_page_make_a_long_table():
    text = tabular(["n"], [("", [[str(row)] for row in range(100)])], "r")
    assert text.startswith("% needs the packages booktabs, longtable")
    assert r"\begin{longtable}{r}" in text
    assert r"\endhead" in text


def test_a_row_that_begins_with_a_bracket_is_no_option_of_the_line_before():
    assert "\n{}[1, 2] \\\\" in tabular(["n"], [("", [["1"], ["[1, 2]"]])], "r")


LATEX = shutil.which("pdflatex")


def compiled(folder, *lines: str) -> subprocess.CompletedProcess[str]:
    document = "\n".join(
        [
            r"\documentclass{article}",
            r"\usepackage{booktabs,longtable,textcomp,graphicx}",
            r"\begin{document}",
            *lines,
            r"\end{document}",
        ]
    )
    (folder / "all.tex").write_text(document, "ascii")
    assert LATEX
    command = [LATEX, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "all.tex"]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=240
    )


@pytest.mark.skipif(LATEX is None, reason="no pdflatex on this machine")
@pytest.mark.slow
def test_latex_takes_every_character(tmp_path):
    texts = [NASTY, "".join(map(chr, range(0x20, 0x500))), "x" * 10_000]
    found = compiled(tmp_path, *(f"{escape(text)}\\par" for text in texts))
    assert found.returncode == 0, found.stdout[-2000:]
