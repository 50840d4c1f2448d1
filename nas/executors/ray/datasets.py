"""A study's images in the object store: decoded once by the driver, mapped by every process of a node.

Arrays out of the store are read-only; whoever trains on them copies before it changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from nas.data import DataSet, Images, Split, load
from nas.study import Data, Study

Key = tuple[int, int | None]  # side of the images, and how many there are of training (None: all)
Ref = Any  # a ray.ObjectRef, of which there is no type without ray


@dataclass(frozen=True)
class StoredSet:
    """A data set without its test split."""

    class_names: tuple[str, ...]
    train: Images
    validation: Images


def keys_of(study: Study) -> tuple[Key, ...]:
    """What a worker opens with, and what the study's trials and finalists are trained on, in every size."""
    sizes, own = tuple(study.space.input_sizes), study.search.input_size
    found = [(sizes[-1], study.data.train_images)]
    found += [(size, images) for size in sizes for images in (study.search_images, study.final_images)]
    return tuple(dict.fromkeys([*found, *([] if own is None else [(own, study.search_images)])]))


@dataclass
class DriverData:
    """What the driver has put into the store: every data set at once, and a test split when it is first asked for."""

    study: Study
    put: Callable[[Any], Ref]
    sets: dict[Key, Ref] = field(default_factory=dict)
    _tests: dict[Key, Ref] = field(default_factory=dict)

    def put_all(self) -> None:
        for key in keys_of(self.study):
            found = self._load(key)
            self.sets[key] = self.put(StoredSet(found.class_names, found.train, found.validation))

    def test(self, key: Key) -> Ref:
        """The test split of a set."""
        if key not in self._tests:
            self._tests[key] = self.put(self._load(key).load_test())
        return self._tests[key]

    def _load(self, key: Key) -> DataSet:
        size, images = key
        return load(self.study.data_of(images), input_size=size, seed=self.study.search.seed)


@dataclass(frozen=True)
class NodeData:
    """The same on a node, got from the store by `get` when it is first read."""

    sets: Mapping[Key, Ref]
    get: Callable[[Ref], Any]
    tests: dict[Key, Ref] = field(default_factory=dict)  # of the tasks so far that may read one

    def read(self, data: Data, *, input_size: int, seed: int) -> DataSet:
        """As `nas.data.load` does, which reads what is not in the store."""
        key = input_size, data.train_images
        if key not in self.sets:
            return load(data, input_size=input_size, seed=seed)
        stored: StoredSet = self.get(self.sets[key])
        nothing = Split((), (), ())  # which images these are is the driver's to know
        return DataSet(stored.class_names, stored.train, stored.validation, nothing, partial(self._test, key))

    def _test(self, key: Key) -> Images:
        found: Images = self.get(self.tests[key])
        return found
