"""Training against the loop most people write, on the same network and images.

    COMPACT_NAS_DATA=... python studies/benchmarks/training_speed.py --json studies/results/training-speed.json

The usual loop: torchvision's ImageFolder, a DataLoader with two workers, per-image random crop, flip, ToTensor and
Normalize, NCHW float32, torch's default threads. Ours: `nas.training` as a worker runs it, with as many threads. Each
round trains STEPS batches of 128 in a fresh process, usual and ours in turn; the fastest of all rounds counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.table import Table

from search_spaces.architecture import Architecture, HeadConfig, StageConfig, StemConfig
from search_spaces.block_configs import InvertedResidualConfig, ResidualConfig

STEPS, WARM_UP, BATCH, CLASSES = 40, 5, 128, 10
FOLDER = "$COMPACT_NAS_DATA/cifar10"


def networks() -> dict[str, Architecture]:
    residual = ResidualConfig(kind="residual", kernel=3)
    mobile = InvertedResidualConfig(kernel=3, expansion=4)
    return {
        "ResNet-8": Architecture(
            input_size=32,
            input_channels=3,
            stem=StemConfig(width=16),
            stages=tuple(StageConfig(width=w, stride=s, blocks=(residual,)) for w, s in ((16, 1), (32, 2), (64, 2))),
            head=None,
        ),
        "inverted residuals": Architecture(
            input_size=32,
            input_channels=3,
            stem=StemConfig(width=16),
            stages=tuple(
                StageConfig(width=w, stride=s, blocks=(mobile,) * 2) for w, s in ((16, 1), (24, 2), (40, 2), (60, 2))
            ),
            head=HeadConfig(width=128),
        ),
    }


def usual(architecture: Architecture) -> float:
    """Images per second of the usual loop."""
    import torch
    from torch import nn
    from torch.nn import functional as F
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    from search_spaces.network import build_network

    steps = [transforms.RandomCrop(32, 4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    normalize = transforms.Normalize((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616))
    images = datasets.ImageFolder(os.path.expandvars(f"{FOLDER}/train"), transforms.Compose([*steps, normalize]))
    loader = DataLoader(images, batch_size=BATCH, shuffle=True, num_workers=2)
    network = build_network(architecture, CLASSES, seed=0).train()
    network.normalize = nn.Identity()  # type: ignore[assignment]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    start = 0.0
    for step, (batch, labels) in enumerate(islice(loader, WARM_UP + STEPS)):
        start = time.perf_counter() if step == WARM_UP else start
        loss = F.cross_entropy(network(batch), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return STEPS * BATCH / (time.perf_counter() - start)


def ours(architecture: Architecture) -> float:
    """Images per second of this project's loop, arithmetic as its probe chooses."""
    import torch

    from nas.data import load
    from nas.study import Data, Study
    from nas.training.loop import train_stage
    from nas.training.optimization import make_optimizer
    from nas.training.stages import Stage
    from nas.workbench import Workbench
    from search_spaces.network import build_network
    from search_spaces.spaces import MobileSpace

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    source = Data(source="image_folder", path=FOLDER)
    study = Study(name="speed", data=source, space=MobileSpace.model_validate({"preset": "32px"}))
    bench = Workbench(study, load(source, input_size=32, seed=0))
    network = bench.place(build_network(architecture, CLASSES, seed=0))
    recipe = study.training.resolved({})
    feed = bench.feed(0, recipe)
    precision = bench.precision(network)
    times: list[float] = []
    with suppress(_Enough):
        train_stage(
            network,
            feed,
            recipe,
            Stage("dense", feed.steps),
            optimizer=make_optimizer(network, recipe),
            precision=precision,
            give_way=lambda: _count(times),
            after_epoch=lambda _: None,
        )
    return STEPS * BATCH / (times[-1] - times[WARM_UP])


class _Enough(Exception):
    pass


def _count(times: list[float]) -> None:
    times.append(time.perf_counter())
    if len(times) > WARM_UP + STEPS:
        raise _Enough


def in_fresh_process(way: str, name: str) -> float:
    """A process of its own, in the environment the way is used in."""
    environment = dict(os.environ)
    if way == "ours":
        from nas.executors.environment import KEEP_MEMORY, worker_environment
        from nas.machine import cores

        environment |= {**KEEP_MEMORY, **worker_environment(cores())}
    else:
        environment.pop("OMP_NUM_THREADS", None)
    command = [sys.executable, "-P", __file__, "--only", way, name]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", nargs=2, metavar=("WAY", "NETWORK"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        way, name = options.only
        print({"usual": usual, "ours": ours}[way](networks()[name]))
        return
    table = Table(title=f"Training, batch {BATCH}, images per second")
    for column in ("network", "parameters", "the usual loop", "ours", "ratio"):
        table.add_column(column, justify="left" if column == "network" else "right")
    rows = []
    for name, architecture in networks().items():
        rounds = [(in_fresh_process("usual", name), in_fresh_process("ours", name)) for _ in range(options.rounds)]
        best = [max(column) for column in zip(*rounds, strict=True)]
        parameters = sum(layer.parameters for layer in architecture.layers(CLASSES))
        table.add_row(name, f"{parameters:,}", f"{best[0]:.0f}", f"{best[1]:.0f}", f"{best[1] / best[0]:.2f}")
        rows.append({"network": name, "parameters": parameters, "rounds": rounds, "ratio": best[1] / best[0]})
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
