"""What a worker keeps between evaluations: the study, its data, the device and the costs measured so far."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import torch
from torch import nn

from nas import __version__
from nas.candidates.candidate import Candidate
from nas.data import DataSet, load
from nas.measuring.places import Places
from nas.records import Measurement, Versions
from nas.run_folder.paths import RunFolder
from nas.runtimes.runtime import FileHeader, opens_here, runtime_of
from nas.study import Data, Recipe, Study
from nas.study.numbers import choices_of
from nas.tasks import Task
from nas.training.augmentation import Augmentation, Feed, as_input
from nas.training.device import device_of
from nas.training.precision import Precision, has_depthwise, probe
from search_spaces.building import build_any

TINY_BATCH = 16
WATCHED_IMAGES = 1000


def build(candidate: Candidate, bench: Workbench, *, seed: int, dropout: float) -> nn.Module:
    """The untrained, dense network on the training device."""
    mean, std = bench.data.mean_std
    classes = len(bench.data.class_names)
    network = build_any(candidate.architecture, classes, mean=mean, std=std, seed=seed, dropout=dropout)
    return bench.place(network)


class ReadData(Protocol):
    """Reads a data set in a size, with the split of a seed, as `nas.data.load` does."""

    def __call__(self, data: Data, *, input_size: int, seed: int) -> DataSet: ...


@dataclass
class Workbench:
    """One per process, and one beside it for every other size and number of training images.

    `structure_costs` is a cache by structure id; each entry holds all targets. `folder` is the run folder, where there
    is one. `study.data` says what this bench holds; `read` reads what those beside it hold. `places` are where each
    target is measured, None for those of `places_of`; `site` says where evaluations are made, in fields of `Versions`.
    """

    study: Study
    data: DataSet
    structure_costs: dict[str, Measurement] = field(default_factory=dict)
    folder: RunFolder | None = None
    read: ReadData = load
    places: Places | None = None
    site: Mapping[str, str] = field(default_factory=dict)
    of_size: dict[tuple[int, int | None], Workbench] = field(default_factory=dict)
    _precisions: dict[bool, Precision] = field(default_factory=dict)

    @cached_property
    def device(self) -> torch.device:
        return device_of(self.study.training.device)

    def place(self, network: nn.Module) -> nn.Module:
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    @property
    def input_size(self) -> int:
        return int(self.data.train.images.shape[-1])

    def at(self, input_size: int) -> Workbench:
        """This bench with the images in another size; costs are shared, for a structure's id holds the size."""
        return self._beside(input_size, self.study.data.train_images)

    def for_task(self, task: Task) -> Workbench:
        """The bench with the images that a task asks for, in its candidate's size."""
        return self._beside(task.candidate.architecture.input_size, task.images_in(self.study))

    def read_all(self) -> None:
        """Read what the study's trials and finalists are trained on, in every size."""
        study = self.study
        for size in study.space.input_sizes:
            for images in dict.fromkeys((study.search_images, study.final_images)):
                self._beside(size, images)
        if study.search.input_size is not None:
            self._beside(study.search.input_size, study.search_images)

    def _beside(self, input_size: int, train_images: int | None) -> Workbench:
        own, wanted = (self.input_size, self.study.data.train_images), (input_size, train_images)
        self.of_size.setdefault(own, self)
        if wanted not in self.of_size:
            study = self.study.model_copy(update={"data": self.study.data_of(train_images)})
            data = self.read(study.data, input_size=input_size, seed=study.search.seed)
            self.of_size[wanted] = replace(self, study=study, data=data, _precisions={})
        return self.of_size[wanted]

    @cached_property
    def header(self) -> FileHeader:
        return FileHeader(self.study.data.input_channels, self.input_size, self.data.class_names)

    def feed(self, seed: int, recipe: Recipe) -> Feed:
        """Training images on the device, augmented as the study and the candidate's recipe say."""
        options = self.study.data
        padding = max(1, self.input_size // 8)
        augmentation = Augmentation(
            flip=options.augments_flip,
            crop_padding=padding if options.crop_padding is None else options.crop_padding,
            randaugment=recipe.randaugment,
            cutout=recipe.cutout,
            mixup=recipe.mixup,
        )
        batch_size = min(recipe.batch_size, len(self.data.train))
        return Feed.of(self.data.train, self.device, batch_size=batch_size, seed=seed, augmentation=augmentation)

    @cached_property
    def watched(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Validation images and labels on the device, at most WATCHED_IMAGES: what early stopping looks at."""
        images = self.data.validation.evenly_spaced(WATCHED_IMAGES)
        return torch.from_numpy(images.images).to(self.device), torch.from_numpy(images.labels).to(self.device)

    def class_weights(self, recipe: Recipe) -> torch.Tensor | None:
        """Weights of the classes in the loss, on the device, where the recipe asks for them."""
        if recipe.class_weights == "none":
            return None
        return torch.tensor(self.data.class_weights, dtype=torch.float32, device=self.device)

    def precision(self, network: nn.Module) -> Precision:
        """The arithmetic a network trains in; `auto` is probed once for networks with and without depthwise layers."""
        asked = self.study.training.precision
        if asked != "auto":
            return asked
        kind = has_depthwise(network)
        if kind not in self._precisions:
            images = torch.from_numpy(self.data.train.images[: max(choices_of(self.study.training.batch_size))]).to(
                self.device
            )
            self._precisions[kind] = probe(network, as_input(images))
        return self._precisions[kind]

    def tiny_feed(self) -> Feed:
        """A handful of images on the CPU, enough to give an untrained network plausible ranges."""
        images, cpu = self.data.train.evenly_spaced(TINY_BATCH), torch.device("cpu")
        return Feed.of(images, cpu, batch_size=len(images), seed=0)

    @cached_property
    def versions(self) -> Versions:
        """What evaluations here are made with."""
        runtimes: dict[str, str] = {}
        for target in filter(opens_here, self.study.targets):
            runtimes |= runtime_of(target).versions()
        return Versions(
            compact_nas=__version__,
            torch=torch.__version__,
            runtimes=runtimes,
            python=platform.python_version(),
            system=f"{platform.system()} {platform.machine()}",
            training_device=str(self.device),
            training_threads=torch.get_num_threads(),
            **self.site,
        )
