from __future__ import annotations

import pytest
import torch
from tiny_search import InProcess

from minaction.data.load import load_dataset
from minaction.study.directory import write_weights
from minaction.study.tasks import Tasks


@pytest.fixture
def executor(monkeypatch):
    """Workers in this process; their settings of torch last for one test."""
    threads = torch.get_num_threads()
    found = InProcess(Tasks(load_dataset, threads=1, store=write_weights))
    for module in ("minaction.search.run", "minaction.study.driver"):
        monkeypatch.setattr(f"{module}.executor_for", found.start)
    yield found
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)
