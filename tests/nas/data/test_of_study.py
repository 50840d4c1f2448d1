"""Trials and finalists may have different numbers of images, and images of different sizes."""

from __future__ import annotations

from typing import Any

import pytest

from nas.data.of_study import listed_of, loaded_of, sizes_of
from nas.errors import InputError
from nas.study import Study


def make_study(**fields: Any) -> Study:
    given = {"name": "t", "data": {"source": "digits"}, "space": {"family": "mobile", "preset": "8px"}}
    return Study.model_validate(given | fields)


@pytest.mark.parametrize(("own", "sizes"), [(None, (8, 12)), (6, (6, 8, 12)), (8, (8, 12)), (12, (8, 12))])
def test_the_largest_size_of_the_space_is_last(own: int | None, sizes: tuple[int, ...]) -> None:
    space = {"family": "mobile", "preset": "8px", "input_size": (8, 12)}
    study = make_study(space=space, search={"input_size": own})
    assert sizes_of(study) == sizes
    assert loaded_of(study, "search").train.images.shape[-1] == 12


def test_each_stage_has_its_images() -> None:
    study = make_study(data={"source": "digits", "train_images": 300}, search={"train_images": 100})
    assert len(loaded_of(study, "search").train) == len(listed_of(study, "search")[1].train) == 100
    assert len(loaded_of(study, "finals").train) == len(listed_of(study, "finals")[1].train) == 300
    assert loaded_of(study, "search").split.test == loaded_of(study, "finals").split.test


@pytest.mark.parametrize(
    ("fields", "key"),
    [({"search": {"train_images": 5000}}, "search"), ({"finals": {"train_images": 5000}}, "finals"),
     ({"data": {"source": "digits", "train_images": 5000}}, "data")],
)  # fmt: skip
def test_a_number_that_cannot_be_had_is_told_by_its_own_key(fields: dict[str, Any], key: str) -> None:
    study = make_study(**fields)
    for stage in ("search", "finals"):
        if key in (stage, "data"):
            for read in (listed_of, loaded_of):
                with pytest.raises(InputError, match=rf"^{key}\.train_images: expected at most 1439, got 5000"):
                    read(study, stage)  # type: ignore[operator]
