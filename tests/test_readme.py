"""The Python that the README and its further pages show runs as it stands there, and their links lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from PIL import Image
from typer.core import TyperGroup
from typer.main import get_command

import nas.api
from compressors.formats import FORMATS
from compressors.low_rank.factoring import CHOOSING
from compressors.low_rank.factors import METHODS
from compressors.steps import QUANTIZATIONS
from nas.cli import app
from nas.study import Compression, Search, Training
from nas.study.compression import Importance
from nas.study.recipe import Calibration

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "studies").glob("*.md")), ROOT / "studies" / "results" / "README.md"]
TUTORIAL = "Ten minutes with a folder of pictures"


def blocks_below(heading: str, page: str = "studies/in-code.md") -> list[str]:
    """The blocks of Python between a heading and the next."""
    content = (ROOT / page).read_text(encoding="utf-8")
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", content, re.MULTILINE | re.DOTALL)
    assert section is not None, f"{page} has no section {heading!r}"
    return re.findall(r"^```python\n(.*?)^```", section[1], re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "heading", ["Use the sampler in your own Optuna study", "Multi-objective early stopping in plain Optuna"]
)
def test_the_code_of_a_section_runs(heading: str, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = blocks_below(heading)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, f"in-code.md, {heading}", "exec"), names)
    assert capsys.readouterr().out.strip(), "it prints what it found"


MARKED = re.compile(r"^```python run\n(.*?)^```", re.MULTILINE | re.DOTALL)  # blocks that a reader can run as they are


def briefly(call: Callable[..., Any], **shorter: Any) -> Callable[..., Any]:
    """A call of nas.api with less work, on every seventh image."""

    def called(what: Any, *more: Any, **given: Any) -> Any:
        given = {**given, **shorter, **({"trials": 1} if "trials" in given else {})}
        first, *others = (_seventh(one) for one in (what, *more))
        return call(first, *others, **given)

    return called


def _seventh(given: Any) -> Any:
    return tuple(one[::7] for one in given) if isinstance(given, tuple) else given


@pytest.mark.parametrize("page", [page for page in PAGES if MARKED.search(page.read_text(encoding="utf-8"))], ids=str)
def test_marked_blocks_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    one_trial = {"epochs": 1, "workers": 1, "baseline": False, "search": {"sampler": "random", "finalists": 0}}
    monkeypatch.setattr(nas.api, "run_search", briefly(nas.api.run_search, **one_trial))
    monkeypatch.setattr(nas.api, "compress", briefly(nas.api.compress, epochs=1))
    names: dict[str, object] = {}
    for block in MARKED.findall(page.read_text(encoding="utf-8")):
        exec(compile(block, page.name, "exec"), names)
        assert capsys.readouterr().out.strip(), "it prints what it found"


def test_early_stopping_stops_most_and_keeps_the_front(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    exec(compile(blocks_below("Multi-objective early stopping in plain Optuna")[0], "in-code.md", "exec"), names)
    found = re.match(r"(\d+) on the front; (\d+) stopped early, the first at {0.25: ", capsys.readouterr().out)
    assert found is not None
    assert int(found[1]) >= 5
    assert 50 <= int(found[2]) <= 85


def test_the_pictures_of_the_tutorial_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = blocks_below(TUTORIAL, "README.md")
    exec(compile(block, f"README.md, {TUTORIAL}", "exec"), {})
    made = list(Path("pictures").glob("*/*.png"))
    assert {file.parent.name for file in made} == {"china", "flower"}
    assert len(made) == 520
    assert {Image.open(file).size for file in made[::50]} == {(32, 32)}


def test_the_table_of_commands_is_that_of_the_command_line() -> None:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Commands\n")[2].partition("\n## ")[0]
    shown = dict(re.findall(r"^\| `nas (\w+)([^`]*)` \|", text, re.MULTILINE))
    assert set(shown) == set(group.commands)
    for name, command in group.commands.items():
        options = {option for given in command.params for option in given.opts if option.startswith("--")}
        assert set(re.findall(r"--[a-z-]+", shown[name])) == options, name


def test_the_table_of_compressors_lists_every_method_by_keys_that_there_are() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Compressors\n")[2].partition("\n## ")[0]
    keys = {"compression": Compression, "training": Training, "search": Search}
    for section, key in re.findall(r"`(compression|training|search)\.(\w+)", text):
        assert key in keys[section].model_fields, key
    words = {word for code in re.findall(r"`([^`]+)`", text) for word in re.findall(r"\w+", code)}
    methods = {*FORMATS, *get_args(Importance), *METHODS, *CHOOSING, *get_args(Calibration), *QUANTIZATIONS}
    assert methods - {"fp32"} <= words


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    content = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", content)):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file) if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
