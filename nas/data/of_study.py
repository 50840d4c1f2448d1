"""The data of a whole study: trials and finalists may be trained on different numbers of its images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from nas.data import listed, load
from nas.data.records import DataSet, Listing, Split
from nas.errors import InputError
from nas.study import Study

Stage = Literal["search", "finals"]  # sections of a study, with `train_images` each


def loaded_of(study: Study, stage: Stage) -> DataSet:
    """What a stage trains on, read in every size: workers find in the cache what they need. Returns the largest size.

    Raises InputError where the data cannot be used; one about the number of images begins with the stage's own key.
    """
    with _key_of(study, stage):
        for size in sizes_of(study):
            data = load(study.data_of(_images(study, stage)), input_size=size, seed=study.search.seed)
    return data


def listed_of(study: Study, stage: Stage, listing: Listing | None = None) -> tuple[Listing, Split]:
    """As `loaded_of`, without reading an image; the `listing` may be known."""
    with _key_of(study, stage):
        return listed(study.data_of(_images(study, stage)), seed=study.search.seed, listing=listing)


def sizes_of(study: Study) -> tuple[int, ...]:
    """The sides of images in which something is trained or measured, the largest of the space last."""
    sizes, own = tuple(study.space.input_sizes), study.search.input_size
    return sizes if own is None or own in sizes else (own, *sizes)


def _images(study: Study, stage: Stage) -> int | None:
    return study.search_images if stage == "search" else study.final_images


@contextmanager
def _key_of(study: Study, stage: Stage) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        if getattr(study, stage).train_images is None:
            raise
        raise InputError(str(error).replace("data.train_images:", f"{stage}.train_images:", 1)) from None
