"""Time and peak memory of a journal of a million runs: written, opened, merged, exported.

The records are those of a real study (results/lambda_sweep) under the configurations of a crossing
of as many runs; the real writer appends them one by one, without waiting for the disk: a million
waits take hours, and what one takes is measured apart. Each step is a process of its own, whose
wall-clock and CPU seconds and peak resident memory are measured. `--before SRC` also opens the
journal with the package in another source folder. A million runs need 14 GB of disk.

    python benchmarks/journal_scale.py --out results/benchmarks/journal_scale.json
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measured import machine, write_json

ROOT = Path(__file__).parents[1]
STUDY = """
[study]
name = "journal-scale"
seeds = {seeds}
[factors]
dataset = ["mnist", "fashion-mnist"]
model = ["cnn"]
lam = [0, 1e-5, 1e-4, 1e-3, 1e-2]
lr = [1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3, 1e-2]
[train]
epochs = 5
"""
CELLS = 100
ROTATE = 64 << 20
WRITE = """
import itertools, json, os, sys, time
from minaction.study.design import iter_runs, run_id
from minaction.study.directory import open_study_directory
from minaction.study.journal import Journal, Record, read_records
from minaction.study.read_study import load_study
spec, directory, templates, rotate, waits = sys.argv[1:]
if waits == "no":
    os.fsync = lambda descriptor: None
study = load_study(spec)
open_study_directory(directory, study)
records = list(read_records(templates))
provenance = {"study_sha256": study.sha256, "analysis_sha256": study.analysis_sha256}
tenths, tenth = [], study.run_count // 10
with Journal(directory, rotate_bytes=int(rotate) or None) as journal:
    started = time.perf_counter()
    for number, (config, record) in enumerate(zip(iter_runs(study), itertools.cycle(records)), 1):
        journal.append(Record(
            run_id=run_id(config), status=record.status, config={**config}, metrics=record.metrics,
            layers=record.layers, history=record.history, error=record.error,
            provenance=record.provenance | provenance,
        ))
        if number % tenth == 0:
            tenths.append((time.perf_counter() - started) / tenth)
            started = time.perf_counter()
print(json.dumps({"microseconds_per_append_by_tenth": [round(1e6 * s, 1) for s in tenths]}))
"""
OPEN = """
import json, sys, time
from minaction.study.journal import Journal
started = time.perf_counter()
with Journal(sys.argv[1]) as journal:
    seconds = time.perf_counter() - started
print(json.dumps({"finished": len(journal.finished), "open_seconds": round(seconds, 2)}))
"""
RESUME = """
import json, sys, time
from minaction.progress import PlainListener
from minaction.study.driver import run_study
from minaction.study.read_study import load_study
outcome = run_study(load_study(sys.argv[1]), sys.argv[2], PlainListener(), workers=1)
print(json.dumps({"ran": outcome.ran}))
"""


def main():
    arguments = parse_arguments()
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="journal-scale-", dir=arguments.folder))
    steps = {}
    try:
        for name, found in measured(folder, arguments):
            steps[name] = found
            print(f"{name:<34} {found['seconds']:8.1f} s {found['peak_mebibytes']:7.0f} MiB")
            if arguments.out:
                said = {"runs": arguments.runs, "note": arguments.note, "steps": steps}
                write_json(arguments.out, {**machine(), **said})
    finally:
        if not arguments.keep:
            shutil.rmtree(folder)


def measured(folder, arguments):
    """Yield the name of each step and what it took."""
    study, templates = folder / "study", ROOT / "results" / "lambda_sweep"
    journal, index = study / "journal.jsonl", study / "journal.index"
    yield "write", written(folder, arguments.runs, templates)
    yield "open", step(["-c", OPEN, study])
    yield "status", step(["-m", "minaction", "study", "status", study])
    yield "resume, nothing left", step(["-c", RESUME, folder / "study.toml", study])
    journal.touch()
    yield "open, index to be compared", step(["-c", OPEN, study])
    yield from merged(folder, study)
    export = ["-m", "minaction", "study", "export", study, "--to", "parquet"]
    exported = step([*export, "-o", folder / "runs.parquet"])
    yield "export to parquet", exported | {"bytes": (folder / "runs.parquet").stat().st_size}
    index.unlink(missing_ok=True)
    yield "open, no index", step(["-c", OPEN, study])
    if arguments.before:
        yield "open, before", step(["-c", OPEN, study], source=arguments.before)
    yield from rotated(folder, arguments.runs // 10, templates)
    few = folder / "few.toml"
    few.write_text(STUDY.format(seeds=10))
    waited = step(["-c", WRITE, few, folder / "few", templates, "0", "yes"])
    yield "write 1,000, waiting for the disk", waited
    shutil.rmtree(folder / "few")


def written(folder, runs, templates):
    """Write the journal, or say what that took when a kept one was written."""
    spec, study, note = folder / "study.toml", folder / "study", folder / "written.json"
    if not note.exists():
        folder.mkdir(parents=True, exist_ok=True)
        spec.write_text(STUDY.format(seeds=runs // CELLS))
        found = step(["-c", WRITE, spec, study, templates, "0", "no"])
        write_json(note, found | sizes(study))
    return json.loads(note.read_text())


def sizes(study):
    """Return the bytes of a journal's files, with parts added up, and of its index."""
    index = study / "journal.index"
    return {
        "journal_bytes": sum(f.stat().st_size for f in study.glob("journal.*jsonl*")),
        "index_bytes": index.stat().st_size if index.exists() else 0,
    }


def merged(folder, study):
    """Deal the runs to two directories, as if two machines had done half each, and merge them."""
    halves, out = split(study, folder), folder / "merged"
    for half in halves:  # the index of each is made, as the run that wrote it would have
        yield f"open, no index, {half.name} half", step(["-c", OPEN, half])
    yield "merge of two halves", step(["-m", "minaction", "study", "merge", *halves, "--out", out])
    for half in halves:
        shutil.rmtree(half)
    yield "open, merged", step(["-c", OPEN, out])
    shutil.rmtree(out)


def rotated(folder, runs, templates):
    """Measure a tenth of the runs in compressed parts."""
    spec, study = folder / "tenth.toml", folder / "tenth"
    spec.write_text(STUDY.format(seeds=runs // CELLS))
    wrote = step(["-c", WRITE, spec, study, templates, ROTATE, "no"])
    yield "write a tenth, rotated", wrote | sizes(study)
    yield "open a tenth, rotated", step(["-c", OPEN, study])
    (study / "journal.index").unlink(missing_ok=True)
    yield "open a tenth, rotated, no index", step(["-c", OPEN, study])
    shutil.rmtree(study)


def split(study, folder):
    """Deal the lines of a journal to two directories, as if two machines had done half each."""
    halves = [folder / "first", folder / "second"]
    for half in halves:
        half.mkdir()
        shutil.copy(study / "study.toml", half)
    with (
        (study / "journal.jsonl").open("rb") as lines,
        (halves[0] / "journal.jsonl").open("wb") as first,
        (halves[1] / "journal.jsonl").open("wb") as second,
    ):
        for number, line in enumerate(lines):
            (second if number % 2 else first).write(line)
    return halves


def step(command, source=None):
    """Run Python with a command line; return seconds, peak memory and what it printed as JSON."""
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(source or ROOT / "src"), os.environ.get("PYTHONPATH")])
    )
    print(*[str(part) if "\n" not in str(part) else "..." for part in command], file=sys.stderr)
    load, started = os.getloadavg()[0], time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *map(str, command)], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    said = json.loads(printed) if printed.startswith("{") else {}
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mebibytes": round(usage.ru_maxrss / 2**10, 1),
        "load_average_before": round(load, 1),
        **said,
    }


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1_000_000, help="a multiple of 1,000")
    parser.add_argument("--folder", type=Path, help="where the journal is made")
    parser.add_argument("--keep", type=Path, help="make the journal here, or take the one there")
    parser.add_argument("--before", type=Path, help="source folder of another version to open with")
    parser.add_argument("--note", default="", help="what to say of the conditions")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
