"""What docs/scale.md shows of the measured journal and of Ray, as Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent
JOURNAL = RESULTS / "benchmarks" / "journal_scale.json"
RAY = RESULTS / "scale" / "ray_overhead.json"
NOT_MEASURED = "Not measured yet.\n"
STEPS = {
    "open": "open it, as every resume does",
    "resume, nothing left": "`study run` with nothing left to do, the whole command",
    "status": "`study status`",
    "open, index to be compared": "open it after its time of change was altered",
    "open, no index": "open it without an index: every line is read",
    "merge of two halves": "`study merge` of two halves",
    "export to parquet": "`study export --to parquet`",
}
MACHINES, CORES, RUN_SECONDS = 1000, 16, 5.0


def read(path: Path) -> dict[str, Any]:
    """Return a stored result."""
    return json.loads(path.read_text(encoding="utf-8"))


def journal_section() -> str:
    """Return time and peak memory of each thing done with a journal of a million runs."""
    found = read(JOURNAL)
    steps = found["steps"]
    written = steps["write"]
    tenths = written["microseconds_per_append_by_tenth"]
    rows = "".join(
        f"| {text} | {steps[name]['seconds']:.1f} s | {steps[name]['peak_mebibytes']:.0f} MiB |\n"
        for name, text in STEPS.items()
    )
    return (
        f"{found['runs']:,} runs, {written['journal_bytes'] / 1e9:.2f} GB, an index of "
        f"{written['index_bytes'] / 1e6:.1f} MB; {found['cpu']}, {found['cpus']} CPUs; n = 1 of "
        "each step, a process of its own.\n\n"
        "| | time | peak memory |\n|---|---|---|\n"
        f"{rows}\n"
        "A run's record costs the same whether the journal is empty or full: "
        f"{tenths[0]:.0f} µs an append in the first tenth of the runs, {tenths[-1]:.0f} µs in the "
        "last, the wait for the disk aside.\n"
    )


def ray_section() -> str:
    """Return what Ray costs over local processes."""
    if not RAY.exists():
        return NOT_MEASURED
    found = read(RAY)
    tasks = found["tasks"]
    rows = "".join(ray_row(tasks[kind]) for kind in ("long", "short", "empty"))
    start = found["start_up_seconds"]
    long = tasks["long"]
    note = f" {found['note']}." if found["note"] else ""
    return (
        f"{found['cpu']}, {found['cpus']} CPUs.{note} Both with two workers, in turns; the median "
        "over rounds of the ratio within a round, and the smallest and largest in brackets.\n\n"
        "| a run takes | runs a round | Ray's time over local processes' | more per run, ms "
        "| rounds |\n|---|---|---|---|---|\n"
        f"{rows}\n"
        f"From one worker to two: {spread(long, 'ray_speed_up')} times the speed with Ray, "
        f"{spread(long, 'local_speed_up')} with local processes (n = {long['ray_speed_up']['n']}). "
        f"Starting a local cluster and its two workers took {start['ray 2']:.0f} s, two local "
        f"processes {start['local 2']:.0f} s (n = 1).\n"
    )


def ray_row(found: dict[str, Any]) -> str:
    """Return what Ray costs runs of one length, as a Markdown row."""
    cells = [
        run_text(found),
        str(found["runs"]),
        spread(found, "ray_over_local"),
        spread(found, "overhead_ms_per_run", ".1f"),
        str(found["ray_over_local"]["n"]),
    ]
    return f"| {' | '.join(cells)} |\n"


def limits_section() -> str:
    """Return what grows with runs and machines, extrapolated from the measured figures."""
    if not RAY.exists():
        return NOT_MEASURED
    steps, ray = read(JOURNAL)["steps"], read(RAY)
    waits = sorted(steps["write 1,000, waiting for the disk"]["microseconds_per_append_by_tenth"])
    waited = (waits[4] + waits[5]) / 2
    rate = ray["tasks"]["empty"]["ray_runs_per_second"]["median"]
    both = 1 / (1 / rate + waited / 1e6)
    needed = MACHINES * CORES / RUN_SECONDS
    per_million = {
        "journal on the disk, GB": (steps["write"]["journal_bytes"] / 1e9, "{:,.1f}"),
        "its index, MB": (steps["write"]["index_bytes"] / 1e6, "{:,.0f}"),
        "memory to open it, GB": (steps["open"]["peak_mebibytes"] * 2**20 / 1e9, "{:,.2f}"),
        "resume, minutes": (steps["resume, nothing left"]["seconds"] / 60, "{:,.1f}"),
        "open without an index, minutes": (steps["open, no index"]["seconds"] / 60, "{:,.1f}"),
        "merge, minutes": (steps["merge of two halves"]["seconds"] / 60, "{:,.1f}"),
        "export to parquet, minutes": (steps["export to parquet"]["seconds"] / 60, "{:,.1f}"),
        "one driver records them in, hours": (1e6 / both / 3600, "{:,.1f}"),
    }
    rows = "".join(
        f"| {name} | {form.format(value)} | {form.format(100 * value)} |\n"
        for name, (value, form) in per_million.items()
    )
    return (
        "| | 10^6 runs | 10^8 runs |\n|---|---|---|\n"
        f"{rows}\n"
        f"A driver takes {rate:,.0f} empty answers a second from two Ray workers (measured, above) "
        f"and waits {waited:.0f} µs for the disk with each record (median of the tenths of 1,000), "
        f"so it records about {both:,.0f} runs a second at best. {MACHINES:,} machines of {CORES} "
        f"cores with runs of {RUN_SECONDS:g} s finish {needed:,.0f} a second.\n"
    )


def run_text(found: dict[str, Any]) -> str:
    """Say how long a run takes."""
    seconds = found["run_seconds"]["median"]
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def spread(found: dict[str, Any], name: str, form: str = ".3f") -> str:
    """Return a median, and its smallest and largest value in brackets."""
    value = found[name]
    return f"{value['median']:{form}} ({value['smallest']:{form}} to {value['largest']:{form}})"
