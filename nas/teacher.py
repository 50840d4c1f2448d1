"""The reference teacher: one network per run folder, trained once, by the first worker that needs it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from nas.candidates.corners import teacher_candidate
from nas.candidates.hyperparameters import middle_numbers
from nas.files import write_atomically
from nas.measuring.turns import pausing_for_measurements
from nas.tasks import CHECKPOINT_FILE
from nas.training.divergence import require_finite
from nas.training.inference import predict
from nas.training.pipeline import TrainingPipeline
from nas.workbench import Workbench, build


def teacher_logits(bench: Workbench) -> Tensor:
    """Logits (images, classes) of the teacher on the undistorted training images, mapped from its file.

    Where the file is not there yet the teacher is trained first, from its checkpoint on; other workers wait meanwhile.
    """
    if bench.folder is None:
        raise ValueError("distillation from a reference: expected a run folder, got none")
    folder = bench.folder.teacher
    folder.mkdir(exist_ok=True)
    file = bench.folder.teacher_logits
    with _alone(folder / "lock"):
        if not file.exists():
            # Only here: while waiting for the other worker a measurement would wait for this one.
            with pausing_for_measurements() as give_way:
                train_teacher(bench, folder, file, give_way)
    logits = torch.from_numpy(np.load(file, mmap_mode="c", allow_pickle=False))
    _require_finite(logits)
    return logits


def train_teacher(bench: Workbench, folder: Path, file: Path, give_way: Callable[[], None]) -> None:
    """Train the teacher and record it in `folder`; its logits come last, in `file`: they mark that it is done."""
    study, seed = bench.study, bench.study.search.seed
    candidate = teacher_candidate(study)
    bench = bench.at(candidate.architecture.input_size)
    recipe = replace(study.training.resolved(middle_numbers(study.training)), distillation=None)
    feed = bench.feed(seed, recipe)
    pipeline = TrainingPipeline(
        recipe,
        candidate,
        feed,
        recipe.epochs,
        folder / CHECKPOINT_FILE,
        class_weights=bench.class_weights,
        validation=bench.watched if recipe.patience else None,
        choose_precision=bench.precision,
    )
    network = pipeline.fit(build(candidate, bench, seed=seed, dropout=recipe.dropout), give_way).network
    logits = predict(network, feed.images)
    _require_finite(logits)
    weights = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    write_atomically(folder / "weights.safetensors", save(weights))
    write_atomically(folder / "candidate.json", json.dumps(candidate.to_json(), indent=1))
    unfinished = file.with_suffix(".tmp")
    with unfinished.open("wb") as out:
        np.save(out, logits.numpy())
        os.fsync(out.fileno())
    unfinished.replace(file)
    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)


def _require_finite(logits: Tensor) -> None:
    """Raise TrainingDiverged at NaN or infinity; both ends of the values are enough, and need no copy of them."""
    require_finite((("the teacher's logits", end) for end in torch.aminmax(logits)), "on the training images")


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Held by one process at a time; released when that process ends."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
