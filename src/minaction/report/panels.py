"""What a figure of the page is, and what its captions have in common."""

from __future__ import annotations

from dataclasses import dataclass

from minaction.report.traces import Spec

OVER_SEEDS = (
    "Points are means over the seeds whose run is ok; error bars are 95 % t intervals of the mean "
    "over seeds. A single seed has no error bar."
)
ON_LOGITS = (
    "Intervals of accuracies are taken on the logit scale, so that they stay within 0 and 100 %."
)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One plot.

    Attributes:
        id: Unique on the page.
        title: Its heading.
        spec: plotly's `data` and `layout`.
        choice: What a reader chooses to see it, where a figure shows one choice at a time.
    """

    id: str
    title: str
    spec: Spec
    choice: str = ""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of the page: panels side by side under one caption."""

    id: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
