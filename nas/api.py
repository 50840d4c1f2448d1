"""compact-nas from Python: the searches and compressions of the command line, with arrays and modules, without files.

    from nas.api import compress, run_search

    front = run_search((images, labels), objectives=["accuracy", "size_bytes"], trials=24)
    best = front[0]
    print(best.accuracy, best.costs["size_bytes"], best.path)
    answers = best.predict(images)

    small = compress(network, (images, labels), ratio=0.5, weight_format="int8")  # a torch module
    print(small.before["accuracy"], small.after["accuracy"], small.path)

A search is done in worker processes and recorded in a run folder. The same call goes on with what is there: after
Ctrl-C, after a kill, with more trials. Every command of the command line works on that folder too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from nas.compression.folder import ResultFolder
from nas.compression.settings import SEARCHED
from nas.compression.wishes import Wishes
from nas.errors import InputError
from nas.executors.loop import WorkFailed
from nas.from_python.arrays import Arrays
from nas.from_python.compressing import (
    Choices,
    Compressed,
    compress_quietly,
    compression_folder,
    compression_study,
    wishes_for,
)
from nas.from_python.images import Part, Place, given_images
from nas.from_python.networks import Front, Network, front_of
from nas.from_python.running import Stopped, run_quietly
from nas.from_python.settings import Section, Sections, folder_for, name_of, settings
from nas.from_python.spaces import given_space
from nas.run_folder.paths import RunFolder
from nas.study import Study
from nas.study.compression import Importance

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "Compressed",
    "Front",
    "InputError",
    "Network",
    "Stopped",
    "WorkFailed",
    "compress",
    "load_run",
    "run_search",
]

RUNS = Path("runs")


def run_search(
    data: Arrays | Place,
    space: str | Section | nn.Module | None = None,
    *,
    objectives: Sequence[str] = ("accuracy", "latency_ms", "size_bytes"),
    trials: int = 24,
    epochs: int = 20,
    seed: int = 0,
    workers: int | None = None,
    validation: Part = None,
    test: Part = None,
    classes: Sequence[str] | None = None,
    flip: bool | None = None,
    folder: str | Path | None = None,
    progress: bool = False,
    **sections: Unpack[Sections],
) -> Front:
    """Search networks for labelled images, and return those that no other one beats.

    data: images and labels, as arrays or tensors: (N, H, W), (N, H, W, C) or (N, C, H, W), of 0 to 255 or floats of 0
    to 1, with labels as numbers from 0 on or as text; or a folder of pictures, a .npz or .csv file, the name of a data
    set (digits, CIFAR10 ...), or the section `data` of a study.
    space: a preset ("32px"); a network that exists, torchvision.NAME or a torch module, whose layers are pruned and
    quantized, by ratios of 0 to 0.75 to int8 or int4 unless `compression` says what is searched; or the section
    `space` of a study, its `base` perhaps a module; by default the preset for the images.
    objectives: what is traded off; accuracy, latency_ms, size_bytes, parameters, macs ...
    trials, epochs: how many networks are trained, and how long each, and each finalist. workers: trainings at a time.
    validation, test: the images that networks are chosen by, and those that finalists are tested with, as a pair of
    arrays, or as the share of the images that is set apart; by default a tenth each. classes: names by number.
    flip: whether training images are mirrored at random; arrays are not where nothing is said.
    folder: of the run; by default one below `runs` that the call's arguments decide, so that the same call goes on.
    sections: further keys of a study, for instance compression={"pruning_ratio": [0.0, 0.5]}; they stand above the
    arguments. Bounds may be numbers: constraints={"size_bytes": 50_000}.

    Raises InputError, before any work, where something cannot be used; WorkFailed where the work cannot go on; Stopped,
    a KeyboardInterrupt, at Ctrl-C.
    """
    images = given_images(data, validation=validation, test=test, classes=classes, flip=flip)
    where = given_space(space, images.side, channels=images.channels)
    own = {
        "objectives": list(objectives),
        "search": {"trials": trials, "seed": seed, **({} if workers is None else {"workers": workers})},
        "training": {"epochs": epochs},
        **({"compression": _compression(sections)} if "base" in where.keys else {}),
    }

    def study_in(path: Path) -> Study:
        file = RunFolder(path.resolve()).data
        return settings(name_of(asked, "search"), images.section(file), where.keys, sections, own)

    asked = None if folder is None else Path(folder)
    path = asked or folder_for(study_in(RUNS), images.digest, RUNS)
    study = study_in(path)
    where.confirm(study)
    images.keep(RunFolder(path.resolve()).data)
    run_quietly(study, path, progress=progress)
    return load_run(path)


def _compression(sections: Sections) -> dict[str, Any]:
    """What is searched of a network that exists: of it nothing else is drawn, so that there are choices by default."""
    return {"stage_widths": True, **({} if sections.get("compression") else SEARCHED)}


def compress(
    network: str | Section | nn.Module,
    data: Arrays | Place,
    *,
    ratio: Choices = None,
    weight_format: Choices = None,
    rank: Choices = None,
    importance: Importance | None = None,
    limits: Mapping[str, float] | None = None,
    epochs: int | None = None,
    trials: int | None = None,
    seed: int = 0,
    validation: Part = None,
    test: Part = None,
    classes: Sequence[str] | None = None,
    flip: bool | None = None,
    folder: str | Path | None = None,
    progress: bool = False,
    **sections: Unpack[Sections],
) -> Compressed:
    """Compress one network by one plan into one file, and compare it with what it was.

    network: torchvision.NAME; a torch module, with its weights if they were ever trained; or keys of a study's section
    `space`: {"base": ..., "weights": "DEFAULT", "stem": "small"}. One without weights, or with a head of other classes,
    is trained first.
    ratio: the share of channels that go. weight_format: int8, int4, fp32 ... rank: how layers are factored, as `nas
    compress --rank` has it. Each may be a mapping from layers to what is to be done there. importance: what ranks
    channels. Without any of them, weights become int8, or what it takes for the costs in `limits`
    ({"size_bytes": 50_000}): then fewer channels too, then factors.
    epochs: of the training behind compression, and of one before. trials: search for the plan with so many; ratio,
    weight_format and rank are then lists of choices.
    Other arguments are those of `run_search`.

    Raises InputError, before any work, where something cannot be used or no plan keeps the limits; WorkFailed where a
    training fails; Stopped, a KeyboardInterrupt, at Ctrl-C, after which the same call goes on.
    """
    images = given_images(data, validation=validation, test=test, classes=classes, flip=flip)
    where = given_space(network, images.side, channels=images.channels, argument="network")

    def wishes_in(path: Path) -> Wishes:
        return wishes_for(
            where.keys,
            images.section(ResultFolder(path.resolve()).work.data),
            sections,
            ratio=ratio,
            weight_format=weight_format,
            rank=rank,
            importance=importance,
            limits=limits,
            epochs=epochs,
            trials=trials,
            seed=seed,
        )

    path = Path(folder or compression_folder(wishes_in(RUNS), images.digest, RUNS))
    wishes = wishes_in(path)
    study = compression_study(wishes)
    where.confirm(study)
    images.keep(ResultFolder(path.resolve()).work.data)
    return Compressed(compress_quietly(wishes, path, progress=progress), path.resolve(), study)


def load_run(folder: str | Path, objectives: Sequence[str] | None = None) -> Front:
    """The front of a run folder as it stands, also while it is being run; over its study's objectives, or others."""
    return front_of(Path(folder), objectives)
