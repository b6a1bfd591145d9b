"""The report of 2,203 runs: seconds to make it, its size, seconds until a browser answers.

The journal is synthetic: real records with every number redrawn and histories of 20 validations,
eight data sets, eight models, five lambdas, seven seeds. Interactive means that a click on a
heading has sorted the run table and the result is on the screen, counted from the navigation.

Run as `python benchmarks/report_size.py --out results/benchmarks/report_size.json`; needs chromium.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from playwright.sync_api import sync_playwright

from measured import machine, write_json
from minaction.report.build import write_report
from minaction.report.verify import verify_report
from minaction.study.design import run_id, runs
from minaction.study.directory import open_study_directory
from minaction.study.journal import Journal, latest_records
from minaction.study.read_study import parse_study

STUDY = """
[study]
name = "large"
seeds = 7
[factors]
dataset = [
    "mnist", "fashion-mnist", "20newsgroups", "n-mnist",
    "fsdd", "mit-bih-nv", "myo-readings", "stress-predict",
]
model = ["mlp", "cnn", "gru", "tcn", "transformer", "lif-cnn", "dual-pathway", "lagrangian"]
lam = [0, 1e-5, 1e-4, 1e-3, 1e-2]
[train]
steps = 1000
validate_every = 50
"""
RUNS = 2_203
TEMPLATES = Path(__file__).parents[1] / "results" / "lambda_sweep"
VALIDATIONS = 20


def main():
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "study"
        write_study(directory)
        started, cpu_started = time.perf_counter(), time.process_time()
        page = write_report(directory)
        report_seconds = time.perf_counter() - started
        cpu_seconds = time.process_time() - cpu_started
        megabytes = page.stat().st_size / 1e6
        started = time.perf_counter()
        verified = verify_report(directory)
        verify_seconds = time.perf_counter() - started
        waits = [interactive_seconds(page) for _ in range(arguments.repeats)]
    assert not verified.differences, verified.differences[:3]
    print(
        f"{RUNS:,} runs: report {report_seconds:.1f} s ({cpu_seconds:.1f} s of a processor), "
        f"{megabytes:.2f} MB, interactive after "
        f"median {statistics.median(waits):.2f} s, largest {max(waits):.2f} s (n {len(waits)}); "
        f"verify {verify_seconds:.1f} s for {verified.checked:,} values"
    )
    if arguments.out:
        content = {
            **machine(),
            "runs": RUNS,
            "report_seconds": round(report_seconds, 2),
            "report_cpu_seconds": round(cpu_seconds, 2),
            "megabytes": round(megabytes, 2),
            "interactive_seconds": [round(wait, 3) for wait in waits],
            "verify_seconds": round(verify_seconds, 2),
            "values_verified": verified.checked,
        }
        write_json(arguments.out, content)


def write_study(directory):
    study = parse_study(STUDY, source="benchmark")
    generator = random.Random(0)
    templates = {}
    for record in latest_records(TEMPLATES):
        templates.setdefault(record.config["lam"], []).append(record)
    conditions = {"study_sha256": study.sha256, "analysis_sha256": study.analysis_sha256}
    open_study_directory(directory, study)
    with Journal(directory) as journal:
        for config in runs(study)[:RUNS]:
            like = generator.choice(templates[config["lam"]])
            journal.append(
                replace(
                    like,
                    run_id=run_id(config),
                    config=dict(config),
                    metrics=redrawn(like.metrics, generator),
                    layers=redrawn(like.layers, generator),
                    history=history(like, generator),
                    provenance=like.provenance | conditions,
                )
            )


def history(like, generator):
    entries = (like.history * VALIDATIONS)[:VALIDATIONS]
    return [
        redrawn(entry, generator)
        | {
            "step": 50 * (number + 1),
            "train_seconds": (number + generator.random()) / 2,
            "val_accuracy": like.metrics["val_accuracy"] * (1 - 0.7 ** (number + 1)),
        }
        for number, entry in enumerate(entries)
    ]


def redrawn(value, generator):
    """The same with every float another one, for digits that repeat would pack too well."""
    if isinstance(value, dict):
        return {name: redrawn(part, generator) for name, part in value.items()}
    if not isinstance(value, float):
        return value
    share = 0 < value < 1
    return value * (1 - 0.05 * generator.random() if share else generator.lognormvariate(0, 0.1))


def interactive_seconds(page):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        started = time.perf_counter()
        tab.goto(page.as_uri(), wait_until="commit")
        tab.wait_for_selector("html[data-ready]", state="attached")
        tab.locator("#run-table th[data-key=test_accuracy] button").dispatch_event("click")
        tab.wait_for_selector("#run-table th[aria-sort=ascending]", state="attached")
        tab.evaluate(
            "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        seconds = time.perf_counter() - started
        browser.close()
    return seconds


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
