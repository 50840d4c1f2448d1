"""Folders of pictures that are drawn for the test, and a cache of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from nas.candidates.corners import extreme_candidates
from nas.estimate.speed import USUAL, Known, Line, Speed
from nas.study import Study

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPACT_NAS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write grey pictures of these names below a folder `d`, each of another shade."""

    def names(*names: str, size: tuple[int, int] = (8, 8)) -> Path:
        root = tmp_path / "d"
        root.mkdir(exist_ok=True)
        for shade, name in enumerate(names):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", size, shade % 256).save(root / name)
        return root

    return names


@pytest.fixture
def speed_of() -> Callable[[Study], Speed]:
    """What a probe would say of a machine of usual speed."""

    def usual(study: Study) -> Speed:
        known = tuple(
            Known(name, candidate, latency_ms)
            for (name, candidate), latency_ms in zip(extreme_candidates(study).items(), (0.1, 0.34, 2.0), strict=True)
        )
        return Speed(USUAL, around=Line(0.5), measuring=Line(0.8), start=2.0, known=known)

    return usual
