"""Networks by what a study says of them and by digest, in this process and in the records of runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from drafts import DRAFTS

from search_spaces.existing import known
from search_spaces.existing.known import (
    NETWORK_FILE,
    WEIGHTS_FILE,
    Known,
    Normalization,
    blueprint_of,
    known_as,
    remember,
    remember_candidates_of,
    remember_folder,
    remember_near,
    to_json,
    weights_of,
)

ASKED = {"base": "mine:net", "weights": "own"}
OLD = Known(DRAFTS["fire"](), "0123456789ab", Normalization((0.5,), (0.25,)))
NEW = Known(DRAFTS["residual"](), "ba9876543210")


@pytest.fixture(autouse=True)
def _nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for table in ("_blueprints", "_read", "_weights"):
        monkeypatch.setattr(known, table, {})


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A run of the network as it was once."""
    (tmp_path / NETWORK_FILE).write_text(to_json(ASKED, OLD))
    return tmp_path


def test_a_run_is_of_the_network_that_it_recorded(earlier: Path) -> None:
    assert remember_folder(earlier) == known_as(ASKED) == OLD
    assert known_as(dict(reversed(ASKED.items()))) == OLD
    assert known_as({**ASKED, "weights": "none"}) is None
    assert weights_of(OLD.weights) == earlier / WEIGHTS_FILE


@pytest.mark.parametrize("place", [".", "artifacts/trial-3"])
def test_another_run_does_not_change_what_a_study_means(earlier: Path, place: str) -> None:
    """Its code or its weights may have changed since; the candidates of that run are known."""
    remember(ASKED, NEW)
    if place == ".":
        assert remember_candidates_of(earlier) == OLD
    (earlier / place).mkdir(parents=True, exist_ok=True)
    remember_near(earlier / place)
    assert known_as(ASKED) == NEW
    assert blueprint_of(OLD.blueprint.digest) == OLD.blueprint
    assert weights_of(OLD.weights) == earlier / WEIGHTS_FILE


@pytest.mark.parametrize("content", ['{"name": "bridge", "subnet": "10.0.0.0/8"}', "[]", "3"])
def test_another_programs_file_of_this_name_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / NETWORK_FILE).write_text(content)
    assert remember_folder(tmp_path) is None
    (tmp_path / "run").mkdir()
    remember_near(tmp_path / "run")
    (tmp_path / "run" / NETWORK_FILE).write_text(to_json(ASKED, OLD))
    assert remember_folder(tmp_path / "run") == OLD


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 2}, "got another: expected schema 1, got 2$"),
        ({"asked": None}, "got another: "),
        ({"weights": ...}, "got another: 'weights'$"),
        ({"blueprint": {"schema": 1, "head": "fc"}}, "got another: 2 validation errors for Blueprint input_channels "),
    ],
)
def test_a_record_that_cannot_be_read_is_one_line(earlier: Path, change: dict[str, Any], said: str) -> None:
    record = {**json.loads((earlier / NETWORK_FILE).read_text()), **change}
    (earlier / NETWORK_FILE).write_text(json.dumps({key: value for key, value in record.items() if value is not ...}))
    with pytest.raises(
        ValueError, match=rf"^{earlier / NETWORK_FILE}: expected the record of a network, {said}"
    ) as error:
        remember_folder(earlier)
    assert "\n" not in str(error.value)


def test_what_is_not_known_is_said() -> None:
    with pytest.raises(ValueError, match=f"network abc is not known here: expected a {NETWORK_FILE} that holds it"):
        blueprint_of("abc")
    with pytest.raises(ValueError, match=f"weights abc are not known here: expected a {WEIGHTS_FILE} that holds them"):
        weights_of("abc")
