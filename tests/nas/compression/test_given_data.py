"""What `--data` names."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.commands.compress_options import Options, given_data, likely_size, wishes_of, with_fitting_size
from nas.compression.given_data import asked_size, is_study, of_study
from nas.errors import InputError

STUDY = """
name: mine
data: {source: digits, validation: 0.2}
space: {family: mobile, preset: 8px}
compression: {pruning_ratio: 0.5}
training: {epochs: 3}
search: {trials: 40}
"""


def options(**fields: object) -> Options:
    return Options(**{"model": "torchvision.resnet18", "data": "digits", "to": Path("to"), **fields})  # type: ignore[arg-type]


def test_a_study_gives_its_data_and_its_training_alone(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(STUDY)
    found = of_study(str(file))
    assert found.data == {"source": "digits", "validation": 0.2}
    assert found.sections == {"training": {"epochs": 3}}
    assert found.space == {"input_size": 8}
    file.write_text("name: a\ndata: {source: digits}\nspace: {base: a.b:c, input_size: [8, 16]}\n")
    assert of_study(str(file)).space == {"input_size": [8, 16]}
    assert is_study("a.YML")
    assert not is_study("a.csv")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: a\nspace: {preset: 8px}\n", "mine.yaml:1: data: "),
        ("- a\n", "mine.yaml: expected a mapping"),
        ("a: [\n", r"mine.yaml:\d+: "),
        (STUDY.replace("validation", "validtion"), "mine.yaml:3: data.validtion: unknown key"),
    ],
)
def test_what_is_no_study_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """With its own file and line, before anything is made of it."""
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=f"^--data: .*{words}") as error:
        of_study(str(file))
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        of_study(str(tmp_path / "absent.yaml"))


def test_a_name_gives_what_its_pictures_suggest() -> None:
    found = given_data(options(overrides=["data.channels=1", "training.epochs=2"]))
    assert (found.data["source"], found.data["channels"]) == ("digits", 1)
    assert found.suited_size == 8
    with pytest.raises(InputError, match=r"^--data: expected a folder of pictures.*'nowhere'"):
        given_data(options(data="nowhere"))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data.chanels=1"], "command line: data.chanels: unknown key"),
        (["space.stem=tiny"], "command line: space.stem: expected"),
        (["space={preset: 8px}"], "space: expected a network that exists, got blocks: "),
    ],
)
def test_what_is_no_study_is_told_before_the_network_is_read(overrides: list[str], words: str, tmp_path: Path) -> None:
    """In the words of a study; the data are those of a study too, of which nothing was looked at yet."""
    file = tmp_path / "mine.yaml"
    file.write_text(STUDY)
    wishes = wishes_of(options(data=str(file), overrides=overrides))
    with pytest.raises(InputError, match=f"^{words}"):
        with_fitting_size(wishes, tmp_path / "to")


def test_the_size_of_images_is_the_users_where_he_says_one() -> None:
    assert wishes_of(options()).space == {"base": "torchvision.resnet18", "input_size": 8}
    own = wishes_of(options(overrides=["space.input_size=32"]))
    assert own.space == {"base": "torchvision.resnet18"}
    assert likely_size(own) == 32
    assert asked_size(["space.input_size=32"])
    assert not asked_size(["space.input_sizes=32", "data.size=3"])
