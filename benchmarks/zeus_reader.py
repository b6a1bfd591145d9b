"""Reads windows with zeus, in an environment of its own: `begin` and `end` on standard input.

Answers each with a line of JSON. Used by `against_zeus.py`.
"""

import json
import sys
import warnings
from importlib.metadata import version

from zeus.device.cpu import rapl
from zeus.monitor import ZeusMonitor

KEY = "window"


def answer(content):
    print(json.dumps(content), flush=True)


def main(powercap=None):
    if powercap:
        rapl.RAPL_DIR = powercap  # the file tree of another machine
    warnings.simplefilter("ignore")
    monitor = ZeusMonitor()
    answer({"zeus": version("zeus"), "gpus": len(monitor.gpus), "cpus": len(monitor.cpus)})
    for line in sys.stdin:
        if line.strip() == "begin":
            monitor.begin_window(KEY, sync_execution=False)
            answer({})
            continue
        found = monitor.end_window(KEY, sync_execution=False)
        answer(
            {
                "seconds": found.time,
                "total_energy": found.total_energy,
                "gpu_energy": found.gpu_energy,
                "cpu_energy": found.cpu_energy,
            }
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
