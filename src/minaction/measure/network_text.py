"""What was measured of a network, as lines for a person to read."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from minaction.measure.conditions import Conditions
from minaction.measure.joules.per_call import PerCall
from minaction.measure.mac_count import MacCount
from minaction.measure.network import Measured
from minaction.measure.tables import WIDTH

LABEL = 14
PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "\N{MICRO SIGN}"))


def network_text(found: Measured) -> str:
    """Return one paragraph for each thing measured or not."""
    rows = list(_rows(found))
    return "\n".join(
        textwrap.fill(
            text,
            WIDTH,
            initial_indent=f"{label:<{LABEL}}",
            subsequent_indent=" " * LABEL,
            break_on_hyphens=False,
        )
        for label, text in rows
    )


def _rows(found: Measured) -> Iterator[tuple[str, str]]:
    times, work = found.latency, found.work
    yield "network", f"{found.model}, batches of {found.samples:,} on {found.device}"
    yield (
        "latency",
        f"{_si(times.seconds)}s a batch [{_si(times.seconds_low)}s, {_si(times.seconds_high)}s]; "
        f"5 to 95 %: {_si(times.seconds_p05)}s to {_si(times.seconds_p95)}s "
        f"({times.measurements} measurements of {times.calls:,} calls)",
    )
    yield "throughput", f"{_si(found.samples_per_second)}samples/s"
    yield "MACs", _macs(work)
    if work.uncounted:
        calls = ", ".join(f"{name} ({n:,})" for name, n in work.uncounted.items())
        yield "", f"not counted: {calls}"
    yield "weights", f"{work.parameters:,} parameters, {_si(work.weight_bytes)}B read a batch"
    yield "bytes moved", f"{_si(work.bytes_moved)}B a sample, without caches and fusion"
    for meter in found.meters:
        yield meter.reading.unit, _meter(meter, found.samples)
    modelled = found.modelled
    yield (
        "modelled",
        f"not known: {modelled.reason}"
        if modelled.value is None
        else f"{_si(modelled.value / found.samples)}J a sample for the {modelled.scope}"
        f"{_skipping_zeros(found)}: a model, not a measurement",
    )
    yield "conditions", _conditions(found.conditions)


def _meter(meter: PerCall, samples: int) -> str:
    reading = meter.reading
    if reading.value is None or meter.low is None or meter.high is None:
        return f"not measured ({reading.scope}): {reading.reason}"
    unit = "J" if reading.unit == "joules" else ""
    idle = "" if reading.idle is None else f", {_si(reading.idle)}{unit} of it idle"
    wide = "" if meter.narrow else "; the interval is wider than asked for"
    return (
        f"{_si(reading.value)}{unit} a batch [{_si(meter.low)}{unit}, {_si(meter.high)}{unit}]"
        f"{idle}; {_si(reading.value / samples)}{unit} a sample ({reading.scope}, "
        f"{reading.source}, {meter.repeats} windows of {meter.calls:,} calls{wide})"
    )


def _macs(work: MacCount) -> str:
    if work.macs_effective is None:
        return f"{_si(work.macs_dense)} a sample"
    spikes = f", and {_si(work.acs_effective)} accumulates of spikes" if work.acs_effective else ""
    return f"{_si(work.macs_dense)} a sample; {_si(work.macs_effective)} effective{spikes}"


def _skipping_zeros(found: Measured) -> str:
    value = found.modelled_effective.value
    return "" if value is None else f", {_si(value / found.samples)}J for the effective part"


def _conditions(conditions: Conditions) -> str:
    frequency, others = conditions.frequency_hz, conditions.others_cpus
    parts = [
        conditions.device,
        f"{conditions.threads} thread{'s' * (conditions.threads > 1)}, {conditions.cpus} CPUs",
        "frequency not told" if frequency is None else f"{_si(frequency)}Hz",
        f"governor {conditions.governor or 'not told'}",
        "use by others not told" if others is None else f"others used {others:.2g} CPUs meanwhile",
    ]
    return ", ".join(parts)


def _si(value: float) -> str:
    for size, prefix in PREFIXES:
        if abs(value) >= 0.9995 * size:
            return f"{value / size:.3g} {prefix}"
    return f"{value * 1e9:.3g} n" if value else "0 "
