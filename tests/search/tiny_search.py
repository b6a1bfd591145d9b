"""A real search of seconds, and an executor without processes."""

from __future__ import annotations

import contextlib

from minaction.search.search_file import load_search
from minaction.study.execute import Answer

TEXT = """
[search]
name = "tiny"
objectives = ["accuracy", "energy_gauge_fixed", "macs"]
sampler = "tpe"
evaluations = 10
confirm_seeds = 2
final_seeds = 2
margin = 0.05
[space]
dataset = "digits"
model = ["mlp", "gru"]
parameters = [10, 1_000, 3_000]
ratio = ["1/2", "1/1"]
depth = [1, 2]
lam = [0, 1e-2, 10]
[train]
steps = 100
validate_every = 25
batch_size = 32
lr = 1e-2
[execution]
precision = "float32"
compile = false
channels_last = false
"""


def search_of(path, *changes):
    """Write the search's file with some of its text replaced, and read it."""
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return load_search(path)


class InProcess:
    """Does tasks where it is."""

    workers = 1

    def __init__(self, tasks):
        self.tasks, self.asked = tasks, []

    def map(self, tasks):
        for task in tasks:
            self.asked.append(task)
            yield Answer(task=task, content=self.tasks.do(task))

    def start(self, *arguments):
        """What stands in for `executor_for`."""
        return contextlib.nullcontext(self)


class Silent:
    """A listener."""

    def __init__(self):
        self.notes = []

    def started(self, total, done):
        pass

    def note(self, text):
        self.notes.append(text)

    def finished(self, record):
        pass
