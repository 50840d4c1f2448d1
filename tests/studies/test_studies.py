"""Every study that is shipped can be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.study.file import dump_study, load_study

STUDIES = sorted((Path(__file__).parents[2] / "studies").rglob("*.yaml"))


def test_there_are_studies() -> None:
    assert "digits.yaml" in [path.name for path in STUDIES]


def test_the_study_of_the_readme_is_the_first_one() -> None:
    root = Path(__file__).parents[2]
    shown = (root / "README.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    assert shown == (root / "studies" / "digits.yaml").read_text()


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_study_loads_and_its_dump_loads_as_the_same(path: Path, tmp_path: Path) -> None:
    study = load_study(path)
    copy = tmp_path / path.name
    copy.write_text(dump_study(study))
    assert load_study(copy) == study
