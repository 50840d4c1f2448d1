"""Ways to name files by which pictures of one thing are known, and what the names alone say for each of them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Scope = Literal["class", "all"]
LEAST_SIZE = 2.0  # pictures of a group, on average
IN_ORDER = 0.8  # of the groups have consecutive numbers, where they are frames


@dataclass(frozen=True)
class Naming:
    """A way to name files. pattern: what is found in a path below its class folder is the group.

    what: what a group is, in words. is_telling: the names say so; else only numbers do, which must be consecutive and
    whose pictures must look alike. scope: whether the same name in two classes is another group.
    """

    what: str
    pattern: str
    scope: Scope
    is_telling: bool = True


def _word(words: str, what: str) -> Naming:
    """Names that hold one of these words and a number, with more behind it."""
    return Naming(what, rf"(?i)(?:^|[/_-])((?:{words})[_-]?\d+)[/_.-](?=.*\.)", "all")


NAMINGS: tuple[Naming, ...] = (
    _word("patient|pat|subject|subj|sub|person|case|pid|p", "pictures of one patient or person"),
    _word("video|vid|film|clip|movie|scene|seq|sequence|track|cam|camera|session|recording", "frames of one recording"),
    Naming("copies that Roboflow made of one picture", r"^(.+)\.rf\.[0-9a-f]{8,}", "all"),
    Naming(
        "parts, copies or frames of one picture",
        r"(?i)^(.+?)[ _-](?:crop|cropped|aug|augmented|rot|rotated|flip|flipped|patch|tile|copy|part|view|frame)[ _-]?"
        r"\d*[._-]",
        "all",
    ),
    Naming("pictures of one folder below the class", r"^(.+)/", "class"),
    Naming("numbered frames", r"^(.+)[_-]\d+\.[^.]+$", "class", is_telling=False),
)


@dataclass(frozen=True)
class Grouped:
    """What a naming makes of the training files: the group of each, tied to its class where the scope says so."""

    naming: Naming
    keys: tuple[str, ...]

    @property
    def sizes(self) -> Mapping[str, int]:
        return Counter(self.keys)

    @property
    def mean_size(self) -> float:
        return len(self.keys) / len(self.sizes)


def grouped(naming: Naming, paths: Sequence[str], classes: Sequence[str]) -> Grouped | None:
    """The groups of files by their paths below their class folders.

    None where a file has no group, or the names do not speak for groups: they hardly repeat, every class is one group,
    or numbers are not those of frames.
    """
    regex = re.compile(naming.pattern)
    found = [regex.search(path) for path in paths]
    if not all(found):
        return None
    names = [match[1] for match in found if match]
    tied = [f"{own}/{name}" if naming.scope == "class" else name for own, name in zip(classes, names, strict=True)]
    result = Grouped(naming, tuple(tied))
    is_class = len(set(zip(tied, classes, strict=True))) <= len(set(classes))
    if result.mean_size < LEAST_SIZE or is_class:
        return None
    return result if naming.is_telling or _in_order(tied, paths) else None


def _in_order(keys: Sequence[str], paths: Sequence[str]) -> bool:
    """Whether the last numbers of most groups' names follow each other, as those of frames do."""
    numbers = defaultdict[str, list[int]](list)
    for key, path in zip(keys, paths, strict=True):
        numbers[key].append(int(re.findall(r"\d+", path.rpartition(".")[0])[-1]))
    several = [sorted(own) for own in numbers.values() if len(own) > 1]
    steps = [{after - before for before, after in pairwise(own)} for own in several]
    return len(several) >= len(numbers) / 2 and sum(step == {1} for step in steps) >= IN_ORDER * len(several)
