"""What docs/scale.md shows of the measured journal and of Ray, as Markdown."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent
JOURNAL = RESULTS / "benchmarks" / "journal_scale.json"
RAY = RESULTS / "scale" / "ray_overhead.json"
THROUGHPUT = RESULTS / "scale" / "throughput.json"
PROGRAMS = {
    "lightning": "Lightning, one run after the other",
    "local 1": "`study run --workers 1`",
    "local 2": "`study run --workers 2`",
    "ray 2": "`study run --workers 2 --executor ray`",
    "stacked 2": "`study run --workers 2 --fleet on`",
}
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


def throughput_section() -> str:
    """Return the runs per hour of whole sweeps."""
    if not THROUGHPUT.exists():
        return NOT_MEASURED
    found = read(THROUGHPUT)
    note = f" {found['note']}." if found["note"] else ""
    head = "| | runs per hour | times Lightning | times `--workers 1` |\n|---|---|---|---|\n"
    text = f"{found['cpu']}, {found['cpus']} CPUs.{note}\n"
    for sweep in found["results"]:
        rounds = sweep["programs"]["lightning"]["runs_per_hour"]["n"]
        rows = "".join(
            f"| {name} | {spread(sweep['programs'][key], 'runs_per_hour', ',.0f')} "
            f"| {spread(sweep['programs'][key], 'speed_over_lightning', '.2f')} "
            f"| {spread(sweep['programs'][key], 'speed_over_local_1', '.2f')} |\n"
            for key, name in PROGRAMS.items()
        )
        text += (
            f"\n**{sweep['dataset']}, {sweep['model']}:** {sweep['runs']} runs of "
            f"{sweep['epochs']} epochs, n = {rounds} rounds.\n\n{head}{rows}"
        )
    return text


def gpu_section() -> str:
    """Return how much faster stacks are on GPUs, one table for each."""
    found = [read(path) for path in sorted(RAY.parent.glob("*.json"))]
    tables = [gpu_table(one) for one in found if "networks" in one]
    return "\n".join(tables) or NOT_MEASURED


def gpu_table(found: dict[str, Any]) -> str:
    """Return what stacking gains on one GPU."""
    networks = found["networks"].items()
    rows = "".join(gpu_row(name, row) for name, one in networks for row in one["rows"])
    blocks = next(row["blocks"] for _, one in networks for row in one["rows"] if "blocks" in row)
    differences = ", ".join(f"{one['largest_difference']:.0e} ({name})" for name, one in networks)
    return (
        f"{found['device']}, {found['cpu']}, torch {found['versions']['torch']}. Weights after "
        f"{found['checked_steps']} steps in float64 differ from the loop's by {differences}. A "
        f"run's step in float32, n = {blocks} blocks:\n\n"
        "| network | runs | alone, ms | stacked, ms | times as fast | without CUDA graphs "
        "| peak memory |\n|---|---|---|---|---|---|---|\n"
        f"{rows}"
    )


def gpu_row(name: str, row: dict[str, Any]) -> str:
    """Return one size of a stack, as a Markdown row."""
    if "reason" in row:
        return f"| {name} | {row['runs']:,} | — | — | {row['reason']} | — | — |\n"
    low, high = row["speed_up_of_blocks"]
    cells = [
        name,
        f"{row['runs']:,}",
        f"{1e3 * row['alone_step_seconds']:.2f}",
        f"{1e3 * row['stacked_step_seconds_per_run']:.4f}",
        f"{row['speed_up']:,.1f} ({low:,.1f} to {high:,.1f})",
        f"{row['speed_up_without_graphs']:,.1f}",
        f"{row['peak_gibibytes']:.1f} GiB",
    ]
    return f"| {' | '.join(cells)} |\n"


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
    """Return what grows with the runs, extrapolated from the measured figures."""
    steps = read(JOURNAL)["steps"]
    per_million = {
        "journal on the disk, GB": (steps["write"]["journal_bytes"] / 1e9, ",.1f"),
        "its index, MB": (steps["write"]["index_bytes"] / 1e6, ",.0f"),
        "memory to open it, GB": (steps["open"]["peak_mebibytes"] * 2**20 / 1e9, ",.2f"),
        "resume, minutes": (steps["resume, nothing left"]["seconds"] / 60, ",.1f"),
        "open without an index, minutes": (steps["open, no index"]["seconds"] / 60, ",.1f"),
        "merge, minutes": (steps["merge of two halves"]["seconds"] / 60, ",.1f"),
        "export to parquet, minutes": (steps["export to parquet"]["seconds"] / 60, ",.1f"),
    }
    rows = "".join(
        f"| {name} | {value:{form}} | {100 * value:{form}} |\n"
        for name, (value, form) in per_million.items()
    )
    return f"| | 10^6 runs | 10^8 runs |\n|---|---|---|\n{rows}\n{rate_text(steps)}"


def rate_text(steps: dict[str, Any]) -> str:
    """Say how many runs one driver records, and how many a large cluster finishes."""
    waits = steps["write 1,000, waiting for the disk"]["microseconds_per_append_by_tenth"]
    waited = statistics.median(waits)
    needed = MACHINES * CORES / RUN_SECONDS
    text = (
        f"A record takes the driver {waited:.0f} µs, its wait for the disk included (median of the "
        f"tenths of 1,000 records), so it records {1e6 / waited:,.0f} runs a second at best. "
        f"{MACHINES:,} machines of {CORES} cores with runs of {RUN_SECONDS:g} s finish "
        f"{needed:,.0f} a second. "
    )
    if not RAY.exists():
        return text + "How many answers it takes from Ray is not measured yet.\n"
    rate = read(RAY)["tasks"]["empty"]["ray_runs_per_second"]["median"]
    both = 1 / (1 / rate + waited / 1e6)
    return text + (
        f"From two Ray workers it takes {rate:,.0f} empty answers a second (above); both together "
        f"make {both:,.0f} runs a second, 10^8 in {1e8 / both / 86400:,.1f} days.\n"
    )


def run_text(found: dict[str, Any]) -> str:
    """Say how long a run takes."""
    seconds = found["run_seconds"]["median"]
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def spread(found: dict[str, Any], name: str, form: str = ".3f") -> str:
    """Return a median, and its smallest and largest value in brackets."""
    value = found[name]
    return f"{value['median']:{form}} ({value['smallest']:{form}} to {value['largest']:{form}})"
