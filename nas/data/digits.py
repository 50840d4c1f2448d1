"""scikit-learn's handwritten digits: 1797 scans of 8 x 8 pixels, installed with it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

from nas.data.records import Array, Listing

CLASSES = 10


def list_digits() -> Listing:
    table = _scans()
    pixels = np.round(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    return Listing(
        class_names=tuple(str(digit) for digit in range(CLASSES)),
        labels=table[:, -1].astype(np.int64),
        given={"train": np.arange(len(pixels))},
        open=lambda index: Image.fromarray(pixels[index]),
        name=lambda index: f"digit {index}",
    )


def _scans() -> Array:
    """scikit-learn's table (1797, 64 pixels and the label), read where it is installed.

    Importing scikit-learn for it takes each worker longer than everything else but torch.
    """
    spec = importlib.util.find_spec("sklearn")
    for place in spec.submodule_search_locations or () if spec else ():
        file = Path(place) / "datasets" / "data" / "digits.csv.gz"
        if file.exists():
            return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    digits = load_digits()
    return np.column_stack([digits.data, digits.target])
