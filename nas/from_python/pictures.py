"""Images that a network is asked about, brought to the form that it was trained on."""

from __future__ import annotations

import numpy as np
from PIL import Image

from nas.data.decoding import Form, decode
from nas.data.records import Array
from nas.from_python.arrays import ImagesLike, pixels_of
from nas.measuring.scoring import as_float


def as_input(images: ImagesLike, form: Form) -> Array:
    """float32 (N, C, size, size) in [0, 1] of images in any shape that arrays may have; the same as in training.

    Raises InputError for what are no images.
    """
    pixels = pixels_of(images, "images")
    if pixels.shape[1:] == _as_it_is(form):
        found = pixels[:, None] if form.channels == 1 else pixels.transpose(0, 3, 1, 2)
    else:
        found = np.stack([decode(Image.fromarray(np.ascontiguousarray(image)), form) for image in pixels])
    return as_float(np.ascontiguousarray(found))


def _as_it_is(form: Form) -> tuple[int, ...]:
    """The shape of an image that needs no change."""
    return (form.size, form.size) if form.channels == 1 else (form.size, form.size, form.channels)
