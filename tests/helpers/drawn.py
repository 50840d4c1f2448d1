"""A folder of drawn pictures of two classes, and a study of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nas.study import Study


def draw(root: Path, count: int = 40, *, name: str = "{0:03}.png") -> None:
    """Pictures of noise in `root`/d, half of them of each class; `name` has their number, and that of their film."""
    random = np.random.default_rng(0)
    for index in range(count):
        file = root / "d" / "ab"[index % 2] / name.format(index, film=index // 4)
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).save(file)


def study(root: Path, **data: Any) -> Study:
    given = {"source": "image_folder", "path": str(root / "d"), "channels": 1, **data}
    return Study.model_validate({"name": "t", "data": given, "space": {"preset": "8px"}})
