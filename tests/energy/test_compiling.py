import subprocess
import sys

import torch

from minaction.energy.compiling import constant_when_compiled

UNCOMPILED_RUN = """
import sys
from minaction.data.load import load_dataset
from minaction.study.run import run_one
from minaction.train.execution import Execution

config = {
    "dataset": "digits", "model": "mlp", "energy": "activation", "lam": 1e-4, "seed": 1,
    "epochs": 1, "batch_size": 32, "lr": 3e-3, "weight_decay": 0.0, "parameters": 5000,
}
record = run_one(config, load_dataset("digits"), Execution()).record
print(record.status, record.metrics['energy_gauge_fixed'] > 0, "torch._dynamo" in sys.modules)
"""


def test_it_marks_functions_as_torch_does():
    def one():
        return 1

    def other():
        return 1

    torch.compiler.assume_constant_result(one)
    constant_when_compiled(other)
    assert vars(other) == vars(one)
    assert vars(one)


def test_an_uncompiled_run_imports_no_compiler():
    done = subprocess.run([sys.executable, "-c", UNCOMPILED_RUN], capture_output=True, text=True)
    assert done.stdout.split() == ["ok", "True", "False"], done.stderr
