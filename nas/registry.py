"""Names a study may use for what lives in a module of its own: a row is a name and where the implementation is.

No module is imported before its row is used, so an engine that is not installed costs nothing and breaks nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Any

from pydantic import WithJsonSchema


class Registry(MutableMapping[str, Any]):
    """Name -> implementation; a value written as `package.module:attribute` is imported when it is first asked for."""

    def __init__(self, rows: dict[str, Any]) -> None:
        self._rows = rows

    def __getitem__(self, name: str) -> Any:
        found = self._rows[name]
        if isinstance(found, str):
            module, _, attribute = found.partition(":")
            found = self._rows[name] = getattr(import_module(module), attribute)
        return found

    def __setitem__(self, name: str, implementation: Any) -> None:
        self._rows[name] = implementation

    def __delitem__(self, name: str) -> None:
        del self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def known(self, name: str) -> str:
        """`name`, if there is such a row; raises ValueError with the names there are."""
        if name not in self._rows:
            raise ValueError(f"expected one of {', '.join(self._rows)}, got {name!r}")
        return name

    @property
    def schema(self) -> WithJsonSchema:
        """The names, for editors: `Annotated[str, AfterValidator(ROWS.known), ROWS.schema]` is a key of a study."""
        return WithJsonSchema({"enum": list(self._rows), "type": "string"})


RUNTIMES = Registry(
    {"onnxruntime": "nas.runtimes.onnxruntime:ONNXRUNTIME", "openvino": "nas.runtimes.openvino:OPENVINO"},
)
ENGINES = Registry({"local": "nas.executors.local:LOCAL", "ray": "nas.executors.ray.engine:RAY"})
TRACKERS = Registry(
    {"tensorboard": "nas.tracking.tensorboard:open_tensorboard", "mlflow": "nas.tracking.mlflow:open_mlflow"},
)
JOBS = Registry(
    {
        "ray": "nas.jobs.ray:RAY",
        "kubernetes": "nas.jobs.kubernetes:KUBERNETES",
        "slurm": "nas.jobs.slurm:SLURM",
    }
)
