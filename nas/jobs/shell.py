"""Pieces of shell: every value is quoted, so that a shell reads it as the words that were meant."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath
from shlex import quote

from nas.jobs.job import Job

NAS = "python -m nas.cli"  # wherever the package comes from: installed, uploaded, or a working directory


def path_word(path: str) -> str:
    """A path as one word; `~` in front of it is the home folder of whoever runs the job."""
    if path == "~" or path.startswith("~/"):
        rest = path[2:]
        return f'"$HOME"/{quote(rest)}' if rest else '"$HOME"'
    return quote(path)


def run_folder(job: Job, runs: str) -> str:
    """The run folder of a job below the folder of runs."""
    return str(PurePosixPath(runs) / job.name)


def words(values: Iterable[str]) -> str:
    """Each value as one word."""
    return " ".join(map(quote, values))


def run_with_study(job: Job, runs: str) -> str:
    """Commands that write the study beside its run folder and run it there: for a machine that does not have the file.

    The last one replaces the shell, so that a signal reaches the driver.
    """
    return f"""\
out={path_word(run_folder(job, runs))}
mkdir -p -- {path_word(runs)}
printf '%s' {quote(job.text)} > "$out".yaml
exec {NAS} run "$out".yaml {words(job.overrides)} --out "$out"
"""
