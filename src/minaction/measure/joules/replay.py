"""A meter that replays what counters or sensors of power once told."""

from __future__ import annotations

import csv
import json
import math
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from minaction.errors import DataFileError, InputError, MeterError, MeterLostError
from minaction.measure.joules.meters import Integrated, Tally, Unwrapped, not_nested
from minaction.measure.joules.reading import Source, Unit

MAX_BYTES = 1 << 26
REFRESHES = 50  # of a counter in a window: what it is late by is then 2 % at most

Kind = Literal["counter", "power"]


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What was recorded of one or several domains.

    Attributes:
        kind: Whether values are joules counted or watts.
        seconds: Moments of the samples, rising, `[samples]`.
        values: By domain, `[samples]` each; None where it did not answer. Nested domains are named
            after those that hold them: `"package-0/core"`.
        wraps_at: Joules at which a domain's counter starts again at 0.
        refresh_seconds: How often the values change.
        others: Who else used the device while this was recorded; None if nobody did.

    Raises:
        InputError: The parts do not fit together.
    """

    kind: Kind
    seconds: Sequence[float]
    values: Mapping[str, Sequence[float | None]]
    wraps_at: Mapping[str, float] = field(default_factory=dict)
    refresh_seconds: float = 0.0
    others: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise InputError(f"kind is {self.kind!r}, expected 'counter' or 'power'")
        if len(self.seconds) < 2 or not all(
            math.isfinite(a) and a < b < math.inf
            for a, b in zip(self.seconds, self.seconds[1:], strict=False)
        ):
            raise InputError("seconds: expected two moments or more, each after the one before")
        if not self.values:
            raise InputError("values: expected at least one domain")
        for domain, values in self.values.items():
            if len(values) != len(self.seconds):
                raise InputError(
                    f"{domain} has {len(values)} values for {len(self.seconds)} moments"
                )
            if not all(v is None or 0 <= v < math.inf for v in values):
                raise InputError(f"{domain}: expected numbers from 0, None where there was none")
        unknown = sorted(self.wraps_at.keys() - self.values.keys())
        if unknown:
            raise InputError(f"wraps_at names {unknown[0]!r}, which has no values")
        if not all(0 < limit < math.inf for limit in self.wraps_at.values()):
            raise InputError("wraps_at: expected positive numbers of joules")
        if not 0 <= self.refresh_seconds < math.inf:
            raise InputError(f"refresh_seconds is {self.refresh_seconds}, expected 0 or more")


class ReplayMeter:
    """Joules of a recorded trace, as the meter would have told them then.

    A counter stands where it was last seen; power goes straight from one value to the next.

    Args:
        trace: What was recorded.
        domains: Which domains to add; default: all that may be added (`not_nested`).
        clock: Seconds on the trace's time scale.

    Raises:
        MeterError: The trace has no such domain.

    Example:
        >>> ReplayMeter(read_trace("rapl.json"), clock=clock)
    """

    unit: Unit = "joules"
    poll_seconds: float | None = None

    def __init__(
        self,
        trace: Trace,
        *,
        domains: Sequence[str] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        chosen = list(domains) if domains is not None else not_nested(trace.values)
        missing = [domain for domain in chosen if domain not in trace.values]
        if missing or not chosen:
            raise MeterError(
                f"the trace has no {missing[0] if missing else 'domain that may be added'}; it "
                f"holds {', '.join(trace.values)}"
            )
        self.scope = f"recorded {' + '.join(chosen)}"
        self.source = Source.COUNTER if trace.kind == "counter" else Source.INTEGRATED
        self.min_window_seconds = REFRESHES * trace.refresh_seconds
        self._trace, self._domains, self._clock = trace, chosen, clock

    def open(self) -> Tally:
        """Begin to count.

        Raises:
            MeterError: The trace says nothing of this moment.
        """
        trace = self._trace
        add = _Counters(trace, self._domains) if trace.kind == "counter" else _Powers(
            trace, self._domains
        )  # fmt: skip

        def joules() -> float:
            now = self._clock()
            if not trace.seconds[0] <= now <= trace.seconds[-1]:
                raise MeterLostError(
                    f"the trace goes from {trace.seconds[0]:g} to {trace.seconds[-1]:g} s and "
                    f"says nothing of {now:g} s"
                )
            return add.until(now)

        joules()
        return Tally(total=joules, others=lambda: trace.others)


class _Counters:
    """Walks through all samples, so that no start at 0 is missed."""

    def __init__(self, trace: Trace, domains: Sequence[str]) -> None:
        self.trace = trace
        self.counters = {d: Unwrapped(d, trace.wraps_at.get(d)) for d in domains}
        self.next: int | None = None

    def until(self, now: float) -> float:
        last = bisect_right(self.trace.seconds, now) - 1
        for i in range(last if self.next is None else self.next, last + 1):
            for domain, counter in self.counters.items():
                counter.add(_value(self.trace, domain, i), self.trace.seconds[i])
        self.next = last + 1
        return sum(counter.total for counter in self.counters.values())


class _Powers:
    """Integrates straight lines between the samples, and from where it began."""

    def __init__(self, trace: Trace, domains: Sequence[str]) -> None:
        self.trace = trace
        self.sums = {d: Integrated(d, math.inf) for d in domains}
        self.now: float | None = None

    def until(self, now: float) -> float:
        seconds = self.trace.seconds
        between = [] if self.now is None else [s for s in seconds if self.now < s < now]
        for moment in (*between, now):
            for domain, total in self.sums.items():
                total.add(self._watts(domain, moment), moment)
        self.now = now
        return sum(total.total for total in self.sums.values())

    def _watts(self, domain: str, moment: float) -> float:
        seconds = self.trace.seconds
        i = min(bisect_right(seconds, moment) - 1, len(seconds) - 2)
        before, after = _value(self.trace, domain, i), _value(self.trace, domain, i + 1)
        return before + (after - before) * (moment - seconds[i]) / (seconds[i + 1] - seconds[i])


def _value(trace: Trace, domain: str, i: int) -> float:
    value = trace.values[domain][i]
    if value is None:
        raise MeterLostError(f"{domain} did not answer at {trace.seconds[i]:g} s")
    return value


def read_trace(path: Path) -> Trace:
    """Read a trace from a JSON file with the fields of `Trace`, or from a CSV file.

    A CSV file has a column `seconds` and one for each domain, its unit after the name, such as
    `package-0_joules` or `gpu-0_watts`; empty where the domain did not answer.

    Raises:
        DataFileError: The file is missing, too large, or holds no trace.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataFileError(path, f"is larger than {MAX_BYTES >> 20} MB; cut the recording")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataFileError(path, f"cannot be read ({error})") from error
    try:
        return _from_csv(text) if path.suffix == ".csv" else _from_json(text)
    except (InputError, ValueError, TypeError, RecursionError, csv.Error) as error:
        raise DataFileError(path, f"is no trace of a meter: {error}") from error


def _from_json(text: str) -> Trace:
    content = json.loads(text)
    if not isinstance(content, dict):
        raise InputError("expected an object with kind, seconds and values")
    unknown = sorted(content.keys() - Trace.__dataclass_fields__.keys())
    if unknown:
        raise InputError(f"unknown field {unknown[0]!r}")
    for name in ("values", "wraps_at"):
        if not isinstance(content.get(name, {}), dict):
            raise InputError(f"{name}: expected an object with a domain each")
    content["seconds"] = _numbers("seconds", content.get("seconds"))
    content["values"] = {
        domain: _numbers(domain, values, missing=True)
        for domain, values in content.get("values", {}).items()
    }
    return Trace(**content)


def _numbers(name: str, values: Any, *, missing: bool = False) -> list[float | None]:
    if not isinstance(values, list) or not all(
        (missing and v is None) or (isinstance(v, (int, float)) and not isinstance(v, bool))
        for v in values
    ):
        raise InputError(f"{name}: expected a list of numbers")
    return values


def _from_csv(text: str) -> Trace:
    header, *rows = [row for row in csv.reader(text.splitlines(), strict=True) if row]
    names = [column.rpartition("_") for column in header]
    units = {unit for _, separator, unit in names if separator}
    if header.count("seconds") != 1 or len(header) != len(set(header)):
        raise InputError("expected one column 'seconds', and no name twice")
    if units not in ({"joules"}, {"watts"}):
        raise InputError("expected columns such as package-0_joules, or all in watts: gpu-0_watts")
    if any(len(row) != len(header) for row in rows):
        raise InputError(f"expected {len(header)} cells in every row")
    columns = dict(zip(header, zip(*rows, strict=True), strict=True)) if rows else {}
    return Trace(
        kind="counter" if units == {"joules"} else "power",
        seconds=[float(cell) for cell in columns.pop("seconds", ())],
        values={
            name.rpartition("_")[0]: [float(cell) if cell.strip() else None for cell in cells]
            for name, cells in columns.items()
        },
    )
