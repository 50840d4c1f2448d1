"""Arguments that several verbs take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study file, e.g. studies/digits.yaml.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE ...]", help="Dotted keys, values read as YAML.")
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Run the code of your own that the study names: space.trusted=true.")
]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A run folder, e.g. runs/digits.")]


def trusting(overrides: list[str] | None, trust: bool) -> list[str]:
    """What is given on the command line, with the trust of an option as a key."""
    return [*(overrides or []), *(["space.trusted=true"] if trust else [])]
