"""Teachers: a reference network, trained by the first worker that needs it, or one that is there already.

A run folder has one for all students that are trained alike: another number of images asks for other logits.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from compressors.distillation import resized
from nas.built_teacher import bare_teacher, build_teacher
from nas.candidates.candidate import Candidate
from nas.candidates.corners import float_candidate, teacher_candidate
from nas.candidates.hyperparameters import middle_numbers
from nas.errors import InputError
from nas.files import write_atomically
from nas.measuring.turns import pausing_for_measurements
from nas.restoring import WEIGHTS, restored
from nas.run_folder.paths import LOCK, LOGITS, folder_named
from nas.runtimes.runtime import opened_here, runtime_of
from nas.study import Distillation, Recipe, Study
from nas.study.finals import teacher_changes
from nas.tasks import CHECKPOINT_FILE, Tell, silent
from nas.training.augmentation import Feed, as_input
from nas.training.divergence import require_finite
from nas.training.inference import predict
from nas.training.pipeline import TrainingPipeline
from nas.workbench import Workbench, build

BATCH = 128


def teacher_logits(
    bench: Workbench, recipe: Mapping[str, Any] = MappingProxyType({}), *, tell: Tell = silent
) -> Tensor:
    """Logits (images, classes) of a teacher on the undistorted training images, mapped from its file.

    `recipe` is what differs from the study's `training` for its students, in keys of `finals`. `tell` hears how far the
    teacher's own training is.

    Where they are not there yet the teacher is trained first, from its checkpoint on, unless a finished file teaches;
    other workers wait meanwhile.
    """
    if bench.folder is None:
        raise ValueError("distillation from a reference: expected a run folder, got none")
    changes = teacher_changes(recipe)
    folder = bench.folder.teacher(changes)
    folder.mkdir(exist_ok=True)
    file = folder / LOGITS
    with _alone(folder / LOCK):
        if not file.exists():
            # Only here: while waiting for the other worker a measurement would wait for this one.
            with pausing_for_measurements() as give_way:
                _teach(bench, changes, file, give_way, tell)
    logits = torch.from_numpy(np.load(file, mmap_mode="c", allow_pickle=False))
    _require_finite(logits)
    return logits


def teacher_network(bench: Workbench, recipe: Mapping[str, Any] = MappingProxyType({})) -> nn.Module:
    """The teacher whose logits `teacher_logits` gave, on the training device: what it holds inside teaches as well.

    Raises InputError for a finished network that is no float network any more.
    """
    assert bench.folder is not None
    changes = teacher_changes(recipe)
    options = bench.study.training_by(changes).distillation
    assert options is not None
    folder = bench.folder.teacher(changes)
    if options.is_built:
        network: nn.Module = bare_teacher(options, len(bench.data.class_names), _size(bench.study))
        network.load_state_dict(load_file(folder / WEIGHTS))
    else:
        folder = folder_named(options.architecture, bench.folder) or folder
        candidate = float_candidate(folder, key="training.distillation")
        network = _at_its_size(restored(candidate, folder / WEIGHTS, len(bench.data.class_names)), candidate)
    return bench.place(network).eval()


def untrained_teacher(bench: Workbench) -> nn.Module:
    """A network of the shape of the search's teacher: what it costs to ask it can be told before there is one."""
    study, options = bench.study, bench.study.training.distillation
    assert options is not None
    if options.is_built:
        return bench.place(bare_teacher(options, len(bench.data.class_names), _size(study))).eval()
    finished = folder_named(options.architecture, bench.folder)
    key = "training.distillation.architecture"
    candidate = teacher_candidate(study, options) if finished is None else float_candidate(finished, key=key)
    return _at_its_size(build(candidate, bench, seed=0, dropout=0.0), candidate).eval()


def _size(study: Study) -> int:
    """Side in pixels of the images that a teacher is trained on: the largest of the candidates', whoever asks first."""
    return study.space.input_sizes[-1]


class _AtSize(nn.Module):
    """Images (N, C, H, W) of any size in the one that a network was trained on."""

    is_traced_as_leaf = True

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        return resized(images, (self.size, self.size))


def _at_its_size(network: nn.Module, candidate: Candidate) -> nn.Module:
    """The candidate's network, the same object, for images of its students, which may have another size."""
    normalize = network.get_submodule("normalize")
    network.set_submodule("normalize", nn.Sequential(_AtSize(candidate.architecture.input_size), normalize))
    return network


def _teach(bench: Workbench, changes: Mapping[str, Any], file: Path, give_way: Callable[[], None], tell: Tell) -> None:
    """Write the logits of a teacher to `file`: of a finished one as they are, of another after its training."""
    study = bench.study
    training = study.training_by(changes)
    options = training.distillation or Distillation(teacher="reference")
    if (finished := folder_named(options.architecture, bench.folder)) is not None:
        _keep(file_logits(finished, bench, give_way), file)
        return
    bench = bench.at(_size(study))
    recipe, candidate = training.resolved(middle_numbers(training)), teacher_candidate(study, options)
    if not options.is_built:
        train_teacher(bench, candidate, recipe, file, give_way, tell)
        return
    classes, seed = len(bench.data.class_names), study.search.seed
    built = build_teacher(options, classes, bench.input_size, seed=seed, key="training.distillation")
    if built.is_finished:
        _record(bench.place(built.network), bench.feed(seed, recipe), file)
        return
    train_teacher(bench, candidate, recipe, file, give_way, tell, network=built.network)


def file_logits(folder: Path, bench: Workbench, give_way: Callable[[], None]) -> Tensor:
    """What the file of a finished network answers on the training images, at its own size (images, classes)."""
    study, runtime = bench.study, runtime_of(bench.study.target)
    file = folder / runtime.file_name
    if not file.exists():
        raise InputError(f"finals.teacher: expected a folder that holds {runtime.file_name}, got {folder}")
    runner = runtime.open(file, opened_here(study.target))
    channels, size, _ = runner.input_shape()
    if channels != study.data.input_channels:
        raise InputError(f"finals.teacher: expected a network of {study.data.input_channels} channels, got {channels}")
    images = bench.at(size).data.train.images
    logits = list[np.ndarray[Any, Any]]()
    for start in range(0, len(images), BATCH):
        give_way()
        logits.append(runner.predict(as_input(torch.from_numpy(images[start : start + BATCH])).numpy()))
    found = np.concatenate(logits)
    if found.shape[1] != len(bench.data.class_names):
        raise InputError(
            f"finals.teacher: expected a network of {len(bench.data.class_names)} classes, got {found.shape[1]}"
        )
    return torch.from_numpy(found)


def train_teacher(
    bench: Workbench,
    candidate: Candidate,
    recipe: Recipe,
    file: Path,
    give_way: Callable[[], None],
    tell: Tell = silent,
    *,
    network: nn.Module | None = None,
) -> None:
    """Train the teacher and record it beside `file`; its logits come last, in `file`: they mark that it is done.

    It is the candidate's network, or the `network` that is given, which then takes the candidate's place.
    """
    folder, seed = file.parent, bench.study.search.seed
    recipe = replace(recipe, distillation=None)
    feed = bench.feed(seed, recipe)
    pipeline = TrainingPipeline(
        recipe,
        candidate,
        feed,
        recipe.epochs,
        folder / CHECKPOINT_FILE,
        class_weights=bench.class_weights(recipe),
        validation=bench.watched if recipe.patience else None,
        choose_precision=bench.precision,
        tell=lambda progress: tell(replace(progress, part="teach")),
        folds=network is None,
    )
    if network is None:
        begun = build(candidate, bench, seed=seed, dropout=recipe.dropout)
        write_atomically(folder / "candidate.json", json.dumps(candidate.to_json(), indent=1))
    else:
        begun = bench.place(network)
    _record(pipeline.fit(begun, give_way).network, feed, file)
    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)


def _record(network: nn.Module, feed: Feed, file: Path) -> None:
    """Write a teacher's weights beside `file`, and then its logits."""
    logits = predict(network, feed.images)
    _require_finite(logits)
    weights = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    write_atomically(file.parent / WEIGHTS, save(weights))
    _keep(logits, file)


def _keep(logits: Tensor, file: Path) -> None:
    """Write them whole or not at all."""
    unfinished = file.with_suffix(".tmp")
    with unfinished.open("wb") as out:
        np.save(out, logits.numpy())
        os.fsync(out.fileno())
    unfinished.replace(file)


def _require_finite(logits: Tensor) -> None:
    """Raise TrainingDiverged at NaN or infinity; both ends of the values are enough, and need no copy of them."""
    require_finite((("the teacher's logits", end) for end in torch.aminmax(logits)), "on the training images")


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Held by one process at a time; released when that process ends."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
