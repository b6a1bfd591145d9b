import subprocess
import sys

import torch

from minaction.energy.compiling import constant_when_compiled


def test_it_marks_functions_as_torch_does():
    def one():
        return 1

    def other():
        return 1

    torch.compiler.assume_constant_result(one)
    constant_when_compiled(other)
    assert vars(other) == vars(one)
    assert vars(one)


def test_an_uncompiled_program_imports_no_compiler():
    program = "import sys, minaction.train.loop; print('torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
