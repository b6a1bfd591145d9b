"""Train in two processes, as torchrun would start them, and write down what came out.

python transformers_ddp.py FOLDER
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import torch
import torch.multiprocessing as mp
from test_transformers import budget_training

PROCESSES = 2


def train(rank, folder, port):
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(PROCESSES)}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    torch.save(budget_training(folder, processes=PROCESSES), folder / f"{rank}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    arguments = (Path(sys.argv[1]), port)
    mp.start_processes(train, arguments, nprocs=PROCESSES, start_method="fork")
