"""The runtime environment of actors: what the study asks for, and what a local worker has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.errors import InputError
from nas.executors.environment import KEEP_MEMORY, python_environment, worker_environment

KEY = "search.ray.runtime_env"
FOLDERS = ("working_dir", "py_modules")  # keys of one path, and of a list of paths


def checked(asked: Mapping[str, Any]) -> dict[str, Any]:
    """`search.ray.runtime_env` as Ray reads it in the user's folder, its own paths absolute: Ray is begun in another.

    Raises InputError where Ray does not understand it, or it names a folder that is not there.
    """
    from ray.runtime_env import RuntimeEnv

    located = dict(asked)
    for key in FOLDERS:
        if isinstance(named := asked.get(key), str):
            located[key] = _located(named, key)
        elif isinstance(named, list | tuple):
            located[key] = [_located(path, key) for path in named]
    try:
        return dict(RuntimeEnv(**located)) if located else {}
    except (TypeError, ValueError) as error:
        raise InputError(f"{KEY}: {' '.join(str(error).split())[:300]}") from None


def _located(path: object, key: str) -> str:
    """A path as an absolute one; the address of a package as it is."""
    if not isinstance(path, str) or not ("://" in path or Path(path).expanduser().exists()):
        raise InputError(f"{KEY}.{key}: expected a folder that is there, or an address, got {path!r}")
    return path if "://" in path else str(Path(path).expanduser().resolve())


def environment_of(asked: Mapping[str, Any], *, threads: int, here: bool) -> dict[str, Any]:
    """The runtime environment of an actor; what was `asked` for wins. `here`: it runs on the driver's machine alone.

    Elsewhere a node keeps its own PYTHONPATH.
    """
    own = {**KEEP_MEMORY, **worker_environment(threads), **python_environment()}
    if not here:
        del own["PYTHONPATH"]
    return {**asked, "env_vars": {**own, **asked.get("env_vars", {})}}
