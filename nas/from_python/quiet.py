"""The terminal of a call: nothing but what people must notice, unless they ask for progress."""

from __future__ import annotations

from typing import Any

from rich.console import Console

NOTICED = ("[yellow]", "[red]")  # how warnings and Ctrl-C's answer are marked


class WarningsAlone(Console):
    """Prints on stderr what is marked as a warning, and nothing else; hooks see all that would be printed."""

    def __init__(self) -> None:
        super().__init__(quiet=True, stderr=True)
        self._loud = Console(stderr=True)

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*objects, **options)
        if any(isinstance(text, str) and text.startswith(NOTICED) for text in objects):
            self._loud.print(*objects, **options)


def console_of(*, progress: bool) -> Console:
    """Where a call prints: bars, tables and lines as `nas run` does, or warnings alone."""
    return Console() if progress else WarningsAlone()
