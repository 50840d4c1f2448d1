"""torchvision's sets, from tiny copies written in the sets' own file formats; nothing is downloaded."""

from __future__ import annotations

import hashlib
import pickle
import struct
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

import nas.data.reading
from nas.data import DataSet, class_count, load
from nas.data.torchvision_sets import SETS
from nas.errors import InputError
from nas.study import Data, TorchvisionSet

Array = np.ndarray[Any, Any]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPACT_NAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def set_data(root: Path, name: str, **options: Any) -> Data:
    return Data.model_validate({"source": "torchvision", "dataset": name, "path": str(root), **options})


def read(data: Data, size: int = 28) -> DataSet:
    return load(data, input_size=size, seed=0)


def noise(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


def write_idx(file: Path, array: Array) -> None:
    """The format of MNIST: a magic number that names type and dimensions, the shape, the bytes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    head = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    file.write_bytes(head + array.tobytes())


def write_mnist(root: Path, name: str) -> dict[str, tuple[Array, Array]]:
    parts = {}
    for part, count in (("train", 40), ("t10k", 10)):
        images, labels = noise(count, 28, 28), (np.arange(count) % 10).astype(np.uint8)
        write_idx(root / name / "raw" / f"{part}-images-idx3-ubyte", images)
        write_idx(root / name / "raw" / f"{part}-labels-idx1-ubyte", labels)
        parts[part] = images, labels
    return parts


def write_gtsrb(root: Path, frames: int = 1) -> None:
    base = root / "gtsrb"
    for label in range(43):
        folder = base / "GTSRB" / "Training" / f"{label:05}"
        folder.mkdir(parents=True)
        for i in range(4):
            for frame in range(frames):
                Image.new("RGB", (9, 9), (label, i, frame)).save(folder / f"{i:05}_{frame:05}.ppm")
    tests = base / "GTSRB" / "Final_Test" / "Images"
    tests.mkdir(parents=True)
    lines = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for label in reversed(range(43)):
        Image.new("RGB", (9, 9), (label, 9, 0)).save(tests / f"{42 - label:05}.ppm")
        lines.append(f"{42 - label:05}.ppm;9;9;0;0;8;8;{label}")
    (base / "GT-final_test.csv").write_text("\n".join(lines) + "\n")


def md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "KMNIST"])
def test_sets_in_the_format_of_mnist(tmp_path: Path, name: str) -> None:
    parts = write_mnist(tmp_path, name)
    found = read(set_data(tmp_path, name, validation=0.25))
    assert found.split.test == tuple(range(40, 50))
    images, labels = parts["train"]
    where = list(found.split.train)
    assert np.array_equal(found.train.images[:, 0], images[where])
    assert np.array_equal(found.train.labels, labels[where])
    assert np.array_equal(found.load_test().images[:, 0], parts["t10k"][0])
    assert found.class_names[1] == {"MNIST": "1 - one", "FashionMNIST": "Trouser", "KMNIST": "ki"}[name]


def test_gtsrb_is_read_from_its_files(tmp_path: Path) -> None:
    write_gtsrb(tmp_path)
    data = set_data(tmp_path, "GTSRB")
    found = read(data, 9)
    assert np.array_equal(found.train.images[:, 0, 0, 0], found.train.labels)
    test = found.load_test()
    assert test.labels.tolist() == list(range(42, -1, -1))
    assert np.array_equal(test.images[:, 0, 0, 0], test.labels)
    assert found.class_names == tuple(str(label) for label in range(43))
    assert class_count(data) == 43


@pytest.mark.parametrize("frames", [1, 6])
def test_frames_of_one_gtsrb_sign_stay_in_one_part(tmp_path: Path, frames: int) -> None:
    write_gtsrb(tmp_path, frames)
    found = read(set_data(tmp_path, "GTSRB", validation=0.25), 9)
    in_train, in_validation = (
        {tuple(image[:2, 0, 0].tolist()) for image in part.images} for part in (found.train, found.validation)
    )  # a sign is told by its class and its number
    assert (len(in_train), len(in_validation)) == (3 * 43, 43)
    assert not in_train & in_validation
    assert (len(found.train), len(found.validation)) == (3 * 43 * frames, 43 * frames)


def test_a_class_of_synonyms_goes_by_the_first(tmp_path: Path) -> None:
    from torchvision.datasets import Imagenette

    base = tmp_path / "imagenette2"
    for part in ("train", "val"):
        for label, wnid in enumerate(Imagenette._WNID_TO_CLASS):
            (base / part / wnid).mkdir(parents=True)
            for i in range(2):
                Image.new("RGB", (9, 9), (label, i, 0)).save(base / part / wnid / f"{i}.JPEG")
    found = read(set_data(tmp_path, "Imagenette"), 9)
    assert found.class_names[:2] == ("tench", "English springer")


def test_an_unreadable_file_of_a_set_is_named(tmp_path: Path) -> None:
    write_gtsrb(tmp_path)
    for i in range(8):  # of class 0, to stay below a tenth
        Image.new("RGB", (9, 9)).save(tmp_path / "gtsrb" / "GTSRB" / "Training" / "00000" / f"more{i}.ppm")
    bad = tmp_path / "gtsrb" / "GTSRB" / "Training" / "00000" / "more0.ppm"
    bad.write_bytes(b"P6\n9 9\n255\n")
    found = read(set_data(tmp_path, "GTSRB"), 9)
    assert len(found.skipped) == 1
    assert found.skipped[0].startswith(f"{bad}: ")


def test_svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.io import savemat
    from torchvision.datasets import SVHN

    known = dict(SVHN.split_list)
    for part, count in (("train", 40), ("test", 10)):
        file = tmp_path / f"{part}_32x32.mat"
        savemat(file, {"X": noise(32, 32, 3, count), "y": np.arange(count)[:, None] % 10 + 1})
        known[part] = [*known[part][:2], md5(file)]
    monkeypatch.setattr(SVHN, "split_list", known)
    found = read(set_data(tmp_path, "SVHN", validation=0.25), 32)
    assert np.array_equal(found.train.images[0], noise(32, 32, 3, 40)[..., found.split.train[0]].transpose(2, 0, 1))
    assert found.load_test().labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]


def test_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import CIFAR10

    base = tmp_path / CIFAR10.base_folder
    base.mkdir()

    def write(name: str, content: Any) -> list[str]:
        (base / name).write_bytes(pickle.dumps(content))
        return [name, md5(base / name)]

    pixels, labels = noise(40, 3072), [i % 10 for i in range(40)]
    names = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    monkeypatch.setattr(CIFAR10, "train_list", [write("data_batch_1", {"data": pixels, "labels": labels})])
    monkeypatch.setattr(CIFAR10, "test_list", [write("test_batch", {"data": pixels[:10], "labels": labels[:10]})])
    file, digest = write("batches.meta", {"label_names": names})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": file, "key": "label_names", "md5": digest})
    found = read(set_data(tmp_path, "CIFAR10", validation=0.25), 32)
    assert np.array_equal(found.train.images[0], pixels[found.split.train[0]].reshape(3, 32, 32))
    assert found.class_names == tuple(names)
    (base / "data_batch_1").write_bytes(b"something else, perhaps a harmful pickle")
    with pytest.raises(InputError, match="torchvision finds no CIFAR10 there"):
        read(set_data(tmp_path, "CIFAR10"))


def test_a_set_is_decoded_once_wherever_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("here", "there"):
        write_mnist(tmp_path / place, "MNIST")
    first = read(set_data(tmp_path / "here", "MNIST")).train.images
    monkeypatch.setattr(nas.data.reading, "decode", lambda *_: pytest.fail("decoded again"))
    again = read(set_data(tmp_path / "there", "MNIST")).train.images
    assert isinstance(again, np.memmap)
    assert np.array_equal(first, again)


def test_changed_pixels_are_decoded_again(tmp_path: Path) -> None:
    images, _ = write_mnist(tmp_path, "MNIST")["train"]
    before = read(set_data(tmp_path, "MNIST")).train.images.copy()
    write_idx(tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte", 255 - images)
    assert np.array_equal(read(set_data(tmp_path, "MNIST")).train.images, 255 - before)


@pytest.mark.parametrize("name", get_args(TorchvisionSet))
def test_a_set_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=rf"torchvision finds no {name} there ") as caught:
        read(set_data(tmp_path, name))
    assert ("data.download: true would fetch it" in str(caught.value)) is (name != "StanfordCars")  # fetched no more
    with pytest.raises(InputError, match=r"data\.path: expected a folder, got .*which does not exist"):
        read(set_data(tmp_path / "missing", name))


def test_labels_outside_the_classes(tmp_path: Path) -> None:
    write_mnist(tmp_path, "MNIST")
    write_idx(tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte", np.arange(40, dtype=np.uint8))
    with pytest.raises(InputError, match="MNIST: expected labels 0 to 9, got 0 to 39"):
        read(set_data(tmp_path, "MNIST"))


def test_every_name_of_the_study_file_is_a_class_of_torchvision() -> None:
    from torchvision import datasets

    assert tuple(sorted(SETS)) == tuple(sorted(get_args(TorchvisionSet)))
    for name, known in SETS.items():
        source = getattr(datasets, name)
        assert known.argument in source.__init__.__code__.co_varnames
        names = getattr(source, "classes", None)
        assert names is None or len(names) == known.classes


def test_hidden_folders_of_a_set_are_no_classes(tmp_path: Path) -> None:
    write_gtsrb(tmp_path)
    expected = read(set_data(tmp_path, "GTSRB"), 9)
    training = tmp_path / "gtsrb" / "GTSRB" / "Training"
    for folder in (training, training / "00007"):
        (folder / ".ipynb_checkpoints").mkdir()
        Image.new("RGB", (9, 9)).save(folder / ".ipynb_checkpoints" / "00000_00000-checkpoint.ppm")
        Image.new("RGB", (9, 9)).save(folder / "._00000_00000.ppm")
    (training / "00007" / "loop").symlink_to(training)
    found = read(set_data(tmp_path, "GTSRB"), 9)
    assert found.split == expected.split
    assert np.array_equal(found.train.labels, expected.train.labels)
    from torchvision.datasets import folder as theirs
    from torchvision.datasets import gtsrb

    assert gtsrb.make_dataset is theirs.make_dataset  # torchvision is left as it was


def test_a_class_without_images_is_named(tmp_path: Path) -> None:
    write_gtsrb(tmp_path)
    (tmp_path / "gtsrb" / "GTSRB" / "Training" / "extra").mkdir()
    with pytest.raises(InputError, match=r"torchvision finds no GTSRB there \(no image \(\.ppm\) of the classes extra"):
        read(set_data(tmp_path, "GTSRB"))
