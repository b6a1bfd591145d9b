"""The same windows read by minAction and by zeus, which ought to agree within 2 %.

zeus runs in an environment of its own, since what it installs breaks `import ray`:

    python -m venv /somewhere/zeus && /somewhere/zeus/bin/pip install zeus
    python benchmarks/against_zeus.py --python /somewhere/zeus/bin/python \
        --out results/benchmarks/against_zeus.json

Two comparisons. `hardware`: every meter of this machine, while it works and while it rests; where
there is none, what zeus says beside our reason. `replayed`: both read one file tree like that of a
server with two packages, whose counters a thread moves on; one starts again at 0 in a window. That
compares the reading of counters, and says nothing of hardware. Ends with 1 where they disagree.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch

from measured import machine, write_json
from minaction.measure.joules.find import cpu_joules, gpu_joules
from minaction.measure.joules.rapl import RaplMeter
from minaction.measure.joules.reading import Reading
from minaction.measure.joules.window import Window

LIMIT = 0.02
RANGE_UJ = 65_532_610_987  # of a real package
WATTS = (180.0, 95.0)
READER = Path(__file__).parent / "zeus_reader.py"


class Zeus:
    """zeus in its own environment."""

    def __init__(self, python, *arguments):
        command = [python, READER, *map(str, arguments)]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.facts = self._answer()

    def ask(self, what):
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("zeus ended; is the --python that of an environment with zeus?")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)


class Server:
    """A file tree like /sys/class/powercap whose packages count by the clock."""

    def __init__(self, root):
        self.root = root
        for i in range(len(WATTS)):
            self._zone(f"intel-rapl:{i}", f"package-{i}")
            self._zone(f"intel-rapl:{i}/intel-rapl:{i}:0", "core")
        self.files = [
            os.open(root / f"intel-rapl/intel-rapl:{i}/energy_uj", os.O_WRONLY)
            for i in range(len(WATTS))
        ]
        self.begin_uj = [0.0 for _ in WATTS]
        self.began = time.perf_counter()
        self.write()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _zone(self, path, name):
        folder = self.root / "intel-rapl" / path
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
        (folder / "energy_uj").write_text(f"{7:020d}\n")
        # all zones stand side by side in the class's folder as well
        (self.root / folder.name).symlink_to(folder)

    def nearly_full(self):
        """Put the first package's counter 2.5 s before it starts again."""
        self.begin_uj[0] = RANGE_UJ - 1e6 * WATTS[0] * (time.perf_counter() - self.began + 2.5)
        self.write()

    def write(self):
        seconds = time.perf_counter() - self.began
        for file, begin, watts in zip(self.files, self.begin_uj, WATTS, strict=True):
            count = int(begin + 1e6 * watts * seconds) % RANGE_UJ
            os.pwrite(file, f"{count:020d}\n".encode(), 0)

    def _run(self):
        while not self.over.wait(0.001):
            self.write()

    def close(self):
        self.over.set()
        self.thread.join()


def both(zeus, meters, work):
    """Read one window with each; zeus's is the outer one, by the time of a message."""
    zeus.ask("begin")
    windows = [Window(meter) for meter in meters]
    work()
    readings = [window.close() for window in windows]
    return readings, zeus.ask("end")


def row(what, reading, said):
    difference = None
    if reading.value is not None and said is not None:
        difference = abs(said / reading.value - 1)
    return {
        "window": what,
        "minaction": reading.to_dict(),
        "zeus_joules": said,
        "difference": difference,
    }


def busy(seconds, device):
    x = torch.ones(512, 512, device=device)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        x = torch.tanh(x @ x)
        if device.type == "cuda":
            torch.cuda.synchronize(device)


def hardware(python, windows, seconds):
    """Compare on the meters of this machine."""
    zeus = Zeus(python)
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    found = {"cpu": cpu_joules()}
    if isinstance(found["cpu"], RaplMeter):
        # counters are compared, not runs: that others compute as well does no harm
        found["cpu"] = RaplMeter(watch=lambda: lambda: None)
    if device.type == "cuda":
        found["gpu"] = gpu_joules(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    meters = {name: m for name, m in found.items() if not isinstance(m, Reading)}
    rows = []
    for i in range(windows):
        what = "working" if i % 2 == 0 else "resting"
        work = (lambda: busy(seconds, device)) if i % 2 == 0 else (lambda: time.sleep(seconds))
        readings, said = both(zeus, meters.values(), work)
        joules = {
            "cpu": sum((said["cpu_energy"] or {}).values()) or None,
            "gpu": said["gpu_energy"].get("0"),
        }
        rows += [row(f"{n} {what}", r, joules[n]) for n, r in zip(meters, readings, strict=True)]
        rows += [
            {**row(f"{n} {what}", m, joules[n]), "zeus_total_energy": said["total_energy"]}
            for n, m in found.items()
            if isinstance(m, Reading)
        ]
    zeus.close()
    return {"zeus": zeus.facts, "rows": rows}


def replayed(python, windows, seconds, settle=30.0):
    """Compare on one file tree whose counters both read."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        meter = RaplMeter(Path(folder), watch=lambda: lambda: None)
        zeus = Zeus(python, Path(folder) / "intel-rapl")
        # with its first use zeus starts processes that watch for counters that start again: what
        # does so before they run, it misses
        both(zeus, [meter], lambda: time.sleep(settle))
        for i in range(windows):
            again = i % 2 == 0
            if again:
                server.nearly_full()
            (reading,), said = both(zeus, [meter], lambda: time.sleep(seconds))
            joules = sum(said["cpu_energy"].values())
            rows.append(row("starts again" if again else "plain", reading, joules))
        zeus.close()
        server.close()
    return {"zeus": zeus.facts, "watts": WATTS, "rows": rows}


def main():
    arguments = parse_arguments()
    torch.set_num_threads(1)
    options = arguments.python, arguments.windows, arguments.seconds
    found = {"hardware": hardware(*options), "replayed": replayed(*options)}
    differences = {
        name: [r["difference"] for r in part["rows"] if r["difference"] is not None]
        for name, part in found.items()
    }
    for name, part in found.items():
        for r in part["rows"]:
            ours = r["minaction"]
            print(
                f"{name:<9} {r['window']:<12} minAction {ours['value'] or ours['reason']}, zeus "
                f"{r['zeus_joules']} (total_energy {r.get('zeus_total_energy', 'not asked')}), "
                f"difference {r['difference']}"
            )
    largest = {name: max(values, default=None) for name, values in differences.items()}
    within = {name: None if most is None else most < LIMIT for name, most in largest.items()}
    print(f"largest differences {largest}; within {LIMIT:.0%}: {within}; None: no meter")
    if arguments.out:
        summary = {"limit": LIMIT, "within": within, "largest_difference": largest}
        write_json(arguments.out, {**machine(), **summary, **found})
    sys.exit(1 if False in within.values() else 0)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", required=True, help="that of an environment with zeus")
    parser.add_argument("--windows", type=int, default=6, help="windows of each comparison")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of a window")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
