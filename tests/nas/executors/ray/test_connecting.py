"""How a cluster is joined and a Ray of one's own begun: what Ray is asked for, in which folder; nothing is started."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray

import nas.executors.ray.connecting
from nas.errors import InputError
from nas.executors.ray.connecting import connected


@dataclass
class Asked:
    """What Ray was asked for."""

    error: BaseException | None = None
    begun: list[tuple[Path, dict[str, Any]]] = field(default_factory=list)
    left: int = 0

    def init(self, **options: Any) -> None:
        self.begun.append((Path.cwd(), options))
        if self.error is not None:
            raise self.error

    def shutdown(self) -> None:
        self.left += 1


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asked:
    found = Asked()
    context = SimpleNamespace(gcs_address="127.0.0.1:1", get_node_id=lambda: "node")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
    monkeypatch.setattr(ray, "init", found.init)
    monkeypatch.setattr(ray, "shutdown", found.shutdown)
    monkeypatch.setattr(nas.executors.ray.connecting, "_short_folder", lambda: str(tmp_path))
    monkeypatch.setattr(nas.executors.ray.connecting, "answers", lambda address: True)
    monkeypatch.chdir(tmp_path)
    return found


def test_a_cluster_is_joined_from_a_folder_that_nobody_writes_into(asked: Asked, tmp_path: Path) -> None:
    """Ray makes the driver's folder the first place where workers look for modules."""
    with connected("auto", {"working_dir": ".", "env_vars": {"A": "b"}}) as cluster:
        assert (cluster.address, cluster.is_own, cluster.scratch) == ("127.0.0.1:1", False, "")
        assert cluster.runtime_env == {"env_vars": {"A": "b"}}  # the rest is the job's
    ((place, options),) = asked.begun
    assert place.stat().st_mode & 0o022 == 0
    assert options["runtime_env"]["working_dir"] == str(tmp_path)
    assert (Path.cwd(), asked.left) == (tmp_path, 1)


def test_no_cluster_is_told_with_its_key(asked: Asked) -> None:
    asked.error = ConnectionError("nobody\nlistens")
    told = r"^search\.ray\.address: expected .* got head:1: nobody listens$"
    with pytest.raises(InputError, match=told), connected("head:1", {}):
        pass


def test_a_ray_of_its_own_has_a_folder_as_long_as_it_lasts(asked: Asked, tmp_path: Path) -> None:
    with connected(None, {}, cpus=64) as cluster:
        ((place, options),) = asked.begun
        assert cluster.is_own
        assert Path(cluster.scratch) == place == Path(options["_temp_dir"])
        assert (place.parent, options["num_cpus"], options["include_dashboard"]) == (
            tmp_path,
            max(64, os.cpu_count() or 1),
            False,
        )
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert (list(tmp_path.iterdir()), asked.left) == ([], 1)


@pytest.mark.parametrize(
    ("error", "raised"), [(KeyboardInterrupt(), KeyboardInterrupt), (Exception("timed out"), InputError)]
)
def test_a_ray_that_did_not_come_to_be_is_ended(
    asked: Asked, tmp_path: Path, error: BaseException, raised: type[BaseException]
) -> None:
    """Ctrl-C while it starts: some of its processes may be there."""
    asked.error = error
    with pytest.raises(raised), connected(None, {}):
        pass
    assert (list(tmp_path.iterdir()), asked.left) == ([], 1)
