"""Verbs about this machine: agent, cache."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def agent(
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 is every one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8947,
    token_file: Annotated[Path | None, typer.Option(help="Holds the token; made where it is missing.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="PEM file: https instead of http.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file of the certificate's key.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="One measurement may take.")] = 120,
    megabytes: Annotated[float, typer.Option(min=0.001, help="A file may have.")] = 64,
    gigabytes: Annotated[float, typer.Option(min=0, help="Of memory a measurement may take; 0 is no limit.")] = 2,
) -> None:
    """Measure files on this device for studies that run elsewhere, as targets: [{agent: "http://HOST:PORT"}] says.

    Whoever asks must know the token: that of the file, else of the variable COMPACT_NAS_AGENT_TOKEN, else a new one,
    which is shown once. SIGTERM or Ctrl-C ends the agent after the measurement it is at.
    """
    from nas.measuring.agent.serving import Options, serve

    serve(Options(host, port, token_file, certificate, key, seconds, megabytes, gigabytes))


def cache(
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove it all; what is needed again is decoded again.")
    ] = False,
) -> None:
    """Show where decoded images are kept and how large they are."""
    from nas.commands.cache import cache_table
    from nas.commands.cache import clear as remove_all
    from nas.data import cache_folder
    from nas.data.tables import megabytes

    folder = cache_folder()
    print(f"Cache: {folder}")  # whole: a table's title is cut to its width, and reads brackets as markup
    Console().print(cache_table(folder))
    if clear:
        print(f"Removed {megabytes(remove_all(folder))}.")
