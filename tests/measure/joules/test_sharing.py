"""Others who compute: seen in the kernel's account of CPU time."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from minaction.measure.cpu_use import CpuUse
from minaction.measure.joules.sharing import watch_cpu


class Account:
    """A file like /proc/stat."""

    def __init__(self, folder):
        self.file = folder / "stat"
        self.add()

    def add(self, **seconds):
        names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
        ticks = [round(seconds.get(name, 0) * os.sysconf("SC_CLK_TCK")) + 1000 for name in names]
        self.file.write_text(f"cpu  {' '.join(map(str, ticks))} 0 0\ncpu0 1 2 3\n")


def test_time_of_others_is_what_this_process_did_not_use(tmp_path):
    account = Account(tmp_path)
    use = CpuUse(account.file)
    account.add(user=1, nice=2, system=4, irq=8, softirq=16, idle=100, iowait=100, steal=100)
    own, others = use.seconds()
    assert own + others == pytest.approx(31)
    assert 0 <= own < 1


def test_own_time_is_not_that_of_others():
    use = CpuUse()
    began = time.process_time()
    while time.process_time() - began < 0.2:
        sum(range(1000))
    own, _ = use.seconds()
    assert own == pytest.approx(0.2, abs=0.1)


def test_children_that_were_waited_for_are_own_time():
    code = "import time\nwhile time.process_time() < 0.3: pass"
    use = CpuUse()
    subprocess.run([sys.executable, "-c", code], check=True)
    own, _ = use.seconds()
    assert own > 0.25


def test_little_is_noise_and_much_is_sharing(tmp_path):
    account = Account(tmp_path)
    others = watch_cpu(account.file)
    time.sleep(0.2)
    account.add(system=0.0)
    assert others() is None
    account.add(nice=5)
    assert others().startswith("other processes used 5 s of CPU time in ")


@pytest.mark.parametrize("content", [None, "", "cpu\n", "cpu a b c d e f g h\n"])
def test_what_cannot_be_told_counts_as_sharing(tmp_path, content):
    file = tmp_path / "stat"
    if content is not None:
        file.write_text(content)
    assert "cannot be told" in watch_cpu(file)()
