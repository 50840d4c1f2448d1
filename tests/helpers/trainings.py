"""Recipes, feeds and a small network, for tests of training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from nas.data import Images
from nas.study import Recipe, Training
from nas.training.augmentation import Augmentation, Feed


class Killed(BaseException):
    """Stands for kill -9."""


def recipe_of(**keys: Any) -> Recipe:
    """The recipe of a study whose section `training` has these keys and searches no number."""
    return Training.model_validate(keys).resolved({})


def feed_of(count: int, *, batch_size: int = 8, flip: bool = False, crop_padding: int = 0, seed: int = 0) -> Feed:
    """Images of random pixels (2, 5, 6), the label of each its index."""
    pixels = np.random.default_rng(count).integers(1, 256, (count, 2, 5, 6), dtype=np.uint8)
    images = Images(pixels, np.arange(count))
    augmentation = Augmentation(flip=flip, crop_padding=crop_padding)
    return Feed.of(images, torch.device("cpu"), batch_size=batch_size, seed=seed, augmentation=augmentation)


def small_network(classes: int) -> nn.Sequential:
    """For the images of `feed_of`: a convolution, a batch norm and a linear layer."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 3 * 4, classes))
