"""`nas` with audited workers in place of the local engine's own: nothing else differs.

python studies/benchmarks/faults/audited_driver.py run study.yaml --out run
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from audited_worker import sleep_by_select

from nas.cli import main
from nas.executors.local import LocalWorkers

WORKER = (sys.executable, "-P", str(Path(__file__).with_name("audited_worker.py")))


def audit() -> None:
    """Have the local engine start audited workers."""
    init = LocalWorkers.__init__

    def audited(self: LocalWorkers, *given: Any, **named: Any) -> None:
        init(self, *given, **named)
        self.command = WORKER

    LocalWorkers.__init__ = audited  # type: ignore[method-assign]


if __name__ == "__main__":
    sleep_by_select()
    audit()
    main()
