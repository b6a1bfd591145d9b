"""What times hold for: read from the machine's own files, None where it does not say."""

from __future__ import annotations

import json

import pytest
import torch

from minaction.measure.conditions import ConditionsWatch, cpu_frequency_hz, governor
from minaction.measure.environment import cpu_count, cpu_name


def frequency(root, *khz, name="scaling_cur_freq"):
    for i, value in enumerate(khz):
        folder = root / f"cpu{i}" / "cpufreq"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{value}\n")


def test_the_frequency_is_the_median_of_the_cpus(tmp_path):
    frequency(tmp_path, 800_000, 3_000_000, 2_000_000)
    assert cpu_frequency_hz(tmp_path) == 2e9


def test_the_frequency_in_cpuinfo_is_the_second_choice(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name\t: x\ncpu MHz\t\t: 2500.5\n\ncpu MHz\t\t: 1500.5\n")
    assert cpu_frequency_hz(tmp_path, cpuinfo) == pytest.approx(2000.5e6)


def test_a_frequency_that_is_not_told_is_none(tmp_path):
    assert cpu_frequency_hz(tmp_path, tmp_path / "cpuinfo") is None
    (tmp_path / "cpuinfo").write_text("processor: 0\n")
    assert cpu_frequency_hz(tmp_path, tmp_path / "cpuinfo") is None
    frequency(tmp_path, "<unknown>")
    assert cpu_frequency_hz(tmp_path) is None


def test_the_governor(tmp_path):
    assert governor(tmp_path) is None
    frequency(tmp_path, "powersave", name="scaling_governor")
    assert governor(tmp_path) == "powersave"


def test_conditions_of_this_machine():
    found = ConditionsWatch(torch.device("cpu")).close(1.0)
    assert (found.device, found.cpus) == (cpu_name(), cpu_count())
    assert found.threads == torch.get_num_threads()
    assert found.others_cpus is None or found.others_cpus >= 0
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()
