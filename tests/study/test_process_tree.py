from __future__ import annotations

import subprocess
import sys
import time

import psutil

from minaction.study.process_tree import kill_tree

BREEDS = """
import subprocess
started = [subprocess.Popen(["sh", "-c", "sleep 60 & wait"]) for _ in range(5)]
print("ready", flush=True)
while True:
    started.append(subprocess.Popen(["sleep", "60"]))
"""


def test_none_escapes_of_a_process_that_starts_others_all_the_time():
    process = subprocess.Popen([sys.executable, "-c", BREEDS], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 5
    since = min(child.create_time() for child in children)
    kill_tree(process.pid)
    assert process.wait() == -9
    process.stdout.close()
    until = time.monotonic() + 10
    while (left := sleepers(since)) and time.monotonic() < until:
        time.sleep(0.05)
    assert left == []


def sleepers(since):
    """Those that it started and that still run."""
    found = []
    for other in psutil.process_iter():
        try:
            if other.cmdline() == ["sleep", "60"] and other.create_time() >= since:
                found.append(other.pid)
        except psutil.Error:
            continue
    return found


def test_one_that_is_gone_is_no_error():
    process = subprocess.Popen(["true"])
    process.wait()
    kill_tree(process.pid)
