"""What lies at a path, or is meant by a name: the keys of `data` that say where the pictures are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from nas.data.decoding import SUFFIXES
from nas.data.paths import expanded
from nas.data.walking import files_below, folders_in, is_data
from nas.errors import InputError
from nas.first_study.choices import Choice
from nas.study.data import TorchvisionSet

# What torchvision leaves in a folder, by which a set is known there.
LEFT_BY_TORCHVISION: Mapping[str, str] = {
    "cifar-10-batches-py": "CIFAR10", "cifar-100-python": "CIFAR100", "MNIST/raw": "MNIST",
    "FashionMNIST/raw": "FashionMNIST", "KMNIST/raw": "KMNIST", "usps.bz2": "USPS", "train_32x32.mat": "SVHN",
    "stl10_binary": "STL10", "gtsrb": "GTSRB", "dtd": "DTD", "fgvc-aircraft-2013b": "FGVCAircraft",
    "flowers-102": "Flowers102", "food-101": "Food101", "oxford-iiit-pet": "OxfordIIITPet",
    "rendered-sst2": "RenderedSST2", "stanford_cars": "StanfordCars", "imagenette2": "Imagenette",
}  # fmt: skip
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
TABLES, ARRAYS, COLUMNAR = (".csv", ".tsv"), (".npz",), (".arrow", ".parquet")
PARTS = ("train", "val", "test")


def located(given: str) -> list[Choice]:
    """The keys of `data` for a folder, a file or a data set's name. Raises InputError where it is none of these."""
    path = expanded(given, "data.path")
    if path.is_dir():
        return _in_folder(path, given)
    if path.exists():
        return _in_file(path, given)
    return _named(given)


def _named(given: str) -> list[Choice]:
    """A data set known by name."""
    sets = {_plain(name): name for name in get_args(TorchvisionSet)}
    if _plain(given) == "digits":
        return [Choice("data.source", "digits", "scikit-learn's handwritten digits, which come with the installation.")]
    if name := sets.get(_plain(given)):
        return _torchvision(name, "data", f"torchvision knows {name}; its files are looked for in the folder data.")
    wanted = "a folder of pictures, a .npz or .csv file, or a data set's name"
    raise InputError(f"expected {wanted} (digits, {', '.join(sets.values())}), got {given!r}: no such file or folder")


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def _torchvision(name: str, path: str, why: str) -> list[Choice]:
    return [
        Choice("data.source", "torchvision", why),
        Choice("data.dataset", name),
        Choice("data.path", path),
        Choice("data.download", True, "Lets torchvision fetch what is not there.", is_suggestion=True),
    ]


def _in_file(path: Path, given: str) -> list[Choice]:
    ending = path.suffix.lower()
    if ending in ARRAYS:
        return [Choice("data.source", "npz", "A file of NumPy arrays."), Choice("data.path", given)]
    if ending in TABLES:
        return [Choice("data.source", "csv", "A table of pictures and labels."), Choice("data.path", given)]
    if ending in COLUMNAR:
        raise InputError(f"{given}: expected a folder, got one file of a data set; name the folder it is in")
    if ending in ARCHIVES:
        raise InputError(f"{given}: expected a folder, got an archive; unpack it first")
    raise InputError(f"{given}: expected a folder of pictures, a .npz or a .csv file, got a file {path.name!r}")


def _in_folder(path: Path, given: str) -> list[Choice]:
    """Tries what a folder may be, the most telling first."""
    for look in (_left_by_torchvision, _pictures, _saved_by_datasets, _only_file, _only_folder):
        if found := look(path, given):
            return found
    raise InputError(_nothing_in(path, given))


def _left_by_torchvision(path: Path, given: str) -> list[Choice]:
    found = {name: given for mark, name in LEFT_BY_TORCHVISION.items() if (path / mark).exists()}
    own = LEFT_BY_TORCHVISION.get(path.resolve().name)
    if own is not None and not found and own not in ("MNIST", "GTSRB", "DTD"):
        found[own] = str(Path(given).parent) if Path(given).name else ".."
    if len(found) > 1:
        examples = " or ".join(f"`nas init {name} data.path={given}`" for name in found)
        raise InputError(f"{given}: holds several data sets of torchvision: {', '.join(found)}; say which: {examples}")
    return [
        choice
        for name, root in found.items()
        for choice in _torchvision(name, root, f"The folder holds {name} as torchvision keeps it.")
    ]


def _pictures(path: Path, given: str) -> list[Choice]:
    """One folder per class, or parts of a split with one each: whether they can be used is the source's to say.

    A table beside parts without class folders goes first.
    """
    inside = [name for name in folders_in(path) if holds_pictures(path / name)]
    parts = [part for part in PARTS if part in inside]
    tables = [file.name for file in _files_of(path, TABLES)]
    if (len(inside) < 2 and not parts) or (parts and tables and not folders_in(path / parts[0])):
        return []
    shape = f"with the parts {', '.join(parts)}, each with" if "train" in parts else "with"
    beside = f" If {tables[0]} says the classes: nas init {given}/{tables[0]}." if tables else ""
    return [
        Choice("data.source", "image_folder", f"A folder {shape} one folder of pictures per class.{beside}"),
        Choice("data.path", given),
    ]


def holds_pictures(folder: Path) -> bool:
    """Whether there is a picture below `folder`, at any depth; links to folders are followed, loops are not."""
    waiting, seen = [folder], set[Path]()
    while waiting:
        place = waiting.pop()
        seen.add(place.resolve())
        entries = [entry for entry in place.iterdir() if is_data(entry.name)]
        if any(entry.suffix.lower() in SUFFIXES and entry.is_file() for entry in entries):
            return True
        waiting += [entry for entry in entries if entry.is_dir() and entry.resolve() not in seen]
    return False


def _saved_by_datasets(path: Path, given: str) -> list[Choice]:
    """Files of Hugging Face's library."""
    if not files_below(path, COLUMNAR):
        return []
    why = f"A folder of {' or '.join(COLUMNAR)} files, as Hugging Face's datasets keeps pictures."
    return [Choice("data.source", "huggingface", why), Choice("data.path", given)]


def _only_file(path: Path, given: str) -> list[Choice]:
    """The one table or archive of arrays that lies in the folder."""
    for endings in (TABLES, ARRAYS):
        found = _files_of(path, endings)
        if len(found) > 1:
            names = ", ".join(file.name for file in found[:5])
            raise InputError(f"{given}: holds several files that may say what to learn: {names}; name one of them")
        if found:
            return _in_file(found[0], str(Path(given) / found[0].name))
    return []


def _files_of(path: Path, endings: Sequence[str]) -> list[Path]:
    """Files in a folder that end so, sorted."""
    found = (entry for entry in path.iterdir() if is_data(entry.name) and entry.suffix.lower() in endings)
    return sorted(entry for entry in found if entry.is_file())


def _only_folder(path: Path, given: str) -> list[Choice]:
    """A folder that holds nothing but another one, as archives unpack."""
    inner = folders_in(path)
    is_packed = len(inner) == 1 and not (path / inner[0]).is_symlink()
    return _in_folder(path / inner[0], str(Path(given) / inner[0])) if is_packed else []


def _nothing_in(path: Path, given: str) -> str:
    folders = folders_in(path)
    if filled := [name for name in folders if holds_pictures(path / name)]:
        return f"{given}: expected one folder of pictures per class, got pictures in {filled[0]}/ alone"
    if pictures := _files_of(path, SUFFIXES):
        return (
            f"{given}: expected one folder of pictures per class, got {len(pictures)} pictures beside each other; "
            "where a table says their classes, name it: nas init labels.csv"
        )
    came = f"only the folder(s) {', '.join(folders[:5])}, without a picture" if folders else "an empty folder"
    return f"{given}: expected one folder of pictures ({', '.join(SUFFIXES)}) per class, got {came}"
