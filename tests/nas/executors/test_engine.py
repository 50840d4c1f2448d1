"""What the engine of this machine promises without starting a worker."""

from __future__ import annotations

from pathlib import Path

from by_hand import make_study

from nas.executors.local import LOCAL
from nas.machine import cores
from nas.measuring.places import HERE
from nas.run_folder.paths import RunFolder
from nas.study import Target


def test_a_device_is_refused_by_its_key() -> None:
    study = make_study().model_copy(update={"targets": (Target(name="cpu"), Target(name="pi5", device="pi5"))})
    assert LOCAL.refused(make_study()) == []
    assert LOCAL.refused(study) == ["targets[1].device: expected search.engine ray, which has devices, got local"]


def test_it_is_reached_at_once_and_measures_here(tmp_path: Path) -> None:
    for workers, expected in ((3, 3), ("auto", cores())):
        with LOCAL.connect(make_study(workers=workers), RunFolder(tmp_path)) as connection:
            assert connection.workers == expected
            assert dict(connection.places) == {"cpu": HERE}
