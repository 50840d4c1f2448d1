"""scikit-learn's handwritten digits: 1797 scans of 8 x 8 pixels, installed with it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from nas.data.records import Listing


def list_digits() -> Listing:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    return Listing(
        class_names=tuple(str(name) for name in bunch.target_names),
        labels=bunch.target.astype(np.int64),
        given={"train": np.arange(len(pixels))},
        open=lambda index: Image.fromarray(pixels[index]),
        name=lambda index: f"digit {index}",
    )
