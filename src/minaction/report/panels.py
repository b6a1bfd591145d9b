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
    """One plot: an id that is unique on the page, a title and plotly's `data` and `layout`."""

    id: str
    title: str
    spec: Spec


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of the page: panels side by side under one caption."""

    id: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
