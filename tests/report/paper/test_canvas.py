from __future__ import annotations

import os
import re
import subprocess
import sys
import zlib

import matplotlib as mpl
import pytest

from minaction.report.paper.canvas import WIDTHS, columns, draw, pdf
from minaction.report.paper.drawing import Drawing, Label, Panel, in_letters, sheets
from minaction.report.paper.style import entries, looks, plain

DRAWN = """
import hashlib
from minaction.report.paper.canvas import pdf
from minaction.report.paper.drawing import Drawing, Entry, Panel
panel = Panel(title="mnist", x="\u03bb", y="accuracy", draw=lambda axes: axes.plot([1, 2], [1, 3]))
entry = Entry(text="cnn", line={"color": "#0072B2"})
found = pdf(Drawing(name="a", caption="", panels=[panel, panel], legend=[entry]), 3.4)
print(hashlib.sha256(found).hexdigest())
"""


def panel(title="mnist", labels=()):
    return Panel(
        title=title,
        x="\u03bb",
        y="accuracy",
        draw=lambda axes: axes.plot([1, 2], [1, 3]),
        labels=labels,
    )


def drawing(count=2, **options):
    return Drawing(name="a", caption="c", panels=[panel()] * count, **options)


def streams(content: bytes) -> str:
    """What is in the compressed parts of a PDF."""
    found = [content]
    for packed in re.findall(rb"stream\r?\n(.*?)endstream", content, re.DOTALL):
        try:
            found.append(zlib.decompress(packed))
        except zlib.error:
            found.append(packed)
    return b"\n".join(found).decode("latin-1")


def size(content: bytes) -> list[float]:
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", content)
    assert box
    return [float(side) for side in box.groups()]


@pytest.mark.parametrize("width", WIDTHS.values())
def test_a_figure_is_as_wide_as_its_column_with_fonts_inside(width):
    content = pdf(drawing(), width)
    assert size(content)[0] == pytest.approx(72 * width, abs=0.5)
    assert b"/FontFile2" in content
    assert b"/Type3" not in content
    assert "/Subtype /Image" not in streams(content)


def test_a_figure_says_nothing_of_when_and_by_whom():
    text = streams(pdf(drawing(), 3.4))
    for word in ("CreationDate", "ModDate", "Producer", "Creator"):
        assert word not in text


def test_the_bytes_are_the_same_elsewhere_whatever_the_users_settings(tmp_path):
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 9\nfont.size: 30\npdf.fonttype: 3\n")
    elsewhere = subprocess.run(
        [sys.executable, "-c", DRAWN],
        env={**os.environ, "PYTHONHASHSEED": "1", "MPLCONFIGDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    namespace: dict = {}
    exec(DRAWN.replace("print(", "result = ("), namespace)
    assert elsewhere.stdout.strip() == namespace["result"]


def test_the_callers_settings_stay():
    before = dict(mpl.rcParams)
    pdf(drawing(1), 3.4)
    assert dict(mpl.rcParams) == before


def test_panels_stand_side_by_side_where_there_is_room():
    wide = [columns(drawing(count), WIDTHS["two-columns"]) for count in (1, 3, 4, 5, 6, 7)]
    assert wide == [1, 3, 2, 3, 3, 3]
    assert columns(drawing(2), WIDTHS["two-columns"]) == 2
    assert columns(drawing(2), WIDTHS["one-column"]) == 1
    assert columns(drawing(6), WIDTHS["one-column"]) == 2


def test_only_outer_panels_name_their_axes():
    figure = draw(drawing(4, columns=2), WIDTHS["two-columns"])
    assert [axes.get_ylabel() for axes in figure.axes] == ["accuracy", "", "accuracy", ""]
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "", "\u03bb", "\u03bb"]
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["(a) mnist", "(b) mnist", "(c) mnist", "(d) mnist"]


def test_labels_stay_clear_of_each_other():
    near = [Label(x=1 + i / 1000, y=2, text="1e-3", colour="black") for i in range(30)]
    figure = draw(Drawing(name="a", caption="", panels=[panel(labels=near)]), WIDTHS["one-column"])
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert 1 < len(boxes) < 30
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[i + 1 :])


def test_many_panels_go_on_several_sheets():
    parts = list(sheets(drawing(30)))
    assert [part.name for part in parts] == ["a-a", "a-b", "a-c"]
    assert [len(part.panels) for part in parts] == [12, 12, 6]
    assert parts[2].caption == "c Part 3 of 3."
    assert [in_letters(number) for number in (0, 25, 26, 701, 702)] == ["a", "z", "aa", "zz", "aaa"]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("$x^2$", r"\$x^2\$"),
        ("_hidden", "\u2009_hidden"),
        ("\U0001f9e0", "U+1F9E0"),
        ("a\nb\x00", "a bU+0000"),
        ("\ud800", "?"),
        ("x" * 10_000, "x" * 39 + "\u2026"),
    ],
)
def test_names_are_written_as_they_are(text, written):
    assert plain(text) == written


@pytest.mark.filterwarnings("error")
def test_any_name_can_be_in_a_legend_and_a_title():
    names = ["$x$ $", "_a", "\U0001f9e0\u202e", "<script>", "x" * 10_000, "\\frac{"]
    found = looks(names)
    shown = Drawing(
        name="a", caption="", panels=[panel(name) for name in names], legend=entries(found)
    )
    figure = draw(shown, WIDTHS["one-column"])
    assert len(figure.legends[0].get_texts()) == len(names)
    assert pdf(shown, WIDTHS["one-column"])


def test_a_single_group_needs_no_legend():
    assert entries(looks(["cnn"])) == []
    assert [entry.text for entry in entries(looks(["cnn", "mlp", "cnn"]))] == ["cnn", "mlp"]
