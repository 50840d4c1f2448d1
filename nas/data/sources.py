"""Where images may come from: one row per source, named as `data.source` names it.

A row says how a source's images are listed and how many classes it has. What a source needs of the study (a path, a
data set's name) is checked at the keys, in `nas/study/data.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nas.data.csv_images import csv_class_names, list_csv
from nas.data.digits import CLASSES, list_digits
from nas.data.huggingface import huggingface_class_names, list_huggingface
from nas.data.image_folder import class_names_in, list_image_folder
from nas.data.npz import list_npz, npz_class_names
from nas.data.records import Listing
from nas.data.torchvision_sets import list_torchvision, torchvision_classes
from nas.study import Data


@dataclass(frozen=True)
class Source:
    """list: every image in canonical order, headers read and pixels not. class_count: without reading an image.

    Both raise InputError where the data cannot be used.
    """

    list: Callable[[Data], Listing]
    class_count: Callable[[Data], int]


SOURCES: dict[str, Source] = {
    "csv": Source(list_csv, lambda data: len(csv_class_names(data))),
    "digits": Source(lambda _: list_digits(), lambda _: CLASSES),
    "huggingface": Source(list_huggingface, lambda data: len(huggingface_class_names(data))),
    "image_folder": Source(list_image_folder, lambda data: len(class_names_in(data))),
    "npz": Source(list_npz, lambda data: len(npz_class_names(data))),
    "torchvision": Source(list_torchvision, torchvision_classes),
}
