"""The Python that the README shows runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks_below(heading: str) -> list[str]:
    """The blocks of Python between a heading and the next."""
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert section is not None, f"README.md has no section {heading!r}"
    return re.findall(r"^```python\n(.*?)^```", section[1], re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "heading", ["Use the sampler in your own Optuna study", "Multi-objective early stopping in plain Optuna"]
)
def test_the_code_of_a_section_runs(heading: str, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = blocks_below(heading)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, f"README.md, {heading}", "exec"), names)
    assert capsys.readouterr().out.strip(), "it prints what it found"


def test_early_stopping_stops_most_and_keeps_the_front(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    exec(compile(blocks_below("Multi-objective early stopping in plain Optuna")[0], "README.md", "exec"), names)
    found = re.match(r"(\d+) on the front; (\d+) stopped early, the first at {0.25: ", capsys.readouterr().out)
    assert found is not None
    assert int(found[1]) >= 5
    assert 50 <= int(found[2]) <= 85
