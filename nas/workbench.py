"""What a worker keeps between evaluations: the study, its data, the device and the costs measured so far."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import onnxruntime
import torch
from torch import nn

from nas import __version__
from nas.data import DataSet, Images, load
from nas.records import Measurement
from nas.runtimes.onnx_file import FileHeader
from nas.study import Study
from nas.training import Feed

TINY_BATCH = 16


@dataclass
class Workbench:
    """One per process. `structure_costs` is a cache by structure id; each entry holds all targets."""

    study: Study
    data: DataSet
    structure_costs: dict[str, Measurement] = field(default_factory=dict)
    other_sizes: dict[int, Workbench] = field(default_factory=dict)

    @cached_property
    def device(self) -> torch.device:
        wanted = self.study.training.device
        if wanted == "auto":
            wanted = "cuda" if torch.cuda.is_available() else "cpu"
        return torch.device(wanted)

    def place(self, network: nn.Module) -> nn.Module:
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    @property
    def input_size(self) -> int:
        return int(self.data.train.images.shape[-1])

    def at(self, input_size: int) -> Workbench:
        """This bench with the images in another size; costs are shared, for a structure's id holds the size."""
        if input_size == self.input_size:
            return self
        if input_size not in self.other_sizes:
            data = load(self.study.data, input_size=input_size, seed=self.study.search.seed)
            self.other_sizes[input_size] = Workbench(self.study, data, self.structure_costs)
        return self.other_sizes[input_size]

    @cached_property
    def header(self) -> FileHeader:
        return FileHeader(self.study.data.input_channels, self.input_size, self.data.class_names)

    def feed(self, seed: int) -> Feed:
        """Training images on the device, augmented as the study says."""
        options = self.study.data
        padding = max(1, self.input_size // 8)
        return Feed.of(
            self.data.train,
            self.device,
            batch_size=min(self.study.training.batch_size, len(self.data.train)),
            flip=options.augments_flip,
            crop_padding=padding if options.crop_padding is None else options.crop_padding,
            seed=seed,
        )

    def tiny_feed(self) -> Feed:
        """A handful of images on the CPU, enough to give an untrained network plausible ranges."""
        few = slice(0, TINY_BATCH)
        images = Images(self.data.train.images[few], self.data.train.labels[few])
        cpu = torch.device("cpu")
        return Feed.of(images, cpu, batch_size=TINY_BATCH, flip=False, crop_padding=0, seed=0)

    @cached_property
    def machine(self) -> dict[str, Any]:
        return {
            "compact_nas": __version__,
            "torch": torch.__version__,
            "onnxruntime": onnxruntime.__version__,
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "training_device": str(self.device),
            "training_threads": torch.get_num_threads(),
        }
