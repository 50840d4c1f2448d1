"""Files that are exchanged together: a death at any moment leaves none of them half done."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.run_folder.exchange import MARKER, complete_exchange, exchange


class Death(Exception):
    """Stands for a kill."""


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def prepared(folder: Path) -> None:
    (folder / "a").mkdir(parents=True)
    for name in ("log", "a/record", "table"):
        (folder / name).write_text(f"old {name}")
    (folder / "log.new").write_text("new log")
    (folder / "a" / ".record").write_text("new a/record")


def test_all_are_exchanged_and_what_is_no_longer_true_is_gone(tmp_path: Path) -> None:
    prepared(tmp_path)
    assert not complete_exchange(tmp_path)
    exchange(tmp_path, {"a/record": "a/.record", "log": "log.new"}, removed=["table", "not there"])
    assert contents(tmp_path) == {"log": "new log", "a/record": "new a/record"}


@pytest.mark.parametrize("deadly", range(1, 6))
def test_a_death_at_any_step_is_made_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deadly: int) -> None:
    """Steps: the marker's own rename, two successors, two files removed."""
    prepared(tmp_path)
    steps = 0

    def dying(original: str) -> None:
        step = getattr(Path, original)

        def stepping(self: Path, *args: object, **options: object) -> object:
            nonlocal steps
            steps += 1
            if steps == deadly:
                raise Death
            return step(self, *args, **options)

        monkeypatch.setattr(Path, original, stepping)

    dying("replace")
    dying("unlink")
    with pytest.raises(Death):
        exchange(tmp_path, {"a/record": "a/.record", "log": "log.new"}, removed=["table"])
    monkeypatch.undo()
    before = contents(tmp_path)
    assert complete_exchange(tmp_path) is (MARKER in before)
    after = {name: text for name, text in contents(tmp_path).items() if not name.endswith(".tmp")}
    if deadly == 1:  # it was not decided yet
        assert (after["log"], after["a/record"], after["table"]) == ("old log", "old a/record", "old table")
    else:
        assert after == {"log": "new log", "a/record": "new a/record"}
