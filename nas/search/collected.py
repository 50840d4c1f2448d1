"""Records of a journal that is written in one go: a file would be synced at each."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from optuna.storages.journal import BaseJournalBackend


class Collected(BaseJournalBackend):
    """Records in memory, as a file would give them back."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return self.records[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.records += json.loads(json.dumps(logs))

    def lines(self) -> str:
        """The records as a journal's file holds them."""
        return "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in self.records)
