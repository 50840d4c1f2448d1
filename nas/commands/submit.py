"""`nas submit`: hands a study to a cluster, or prints what it would be handed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from nas.errors import InputError
from nas.jobs.job import Backend, Job
from nas.jobs.options import Options, option_rows, read_options
from nas.registry import JOBS
from nas.study import Study
from nas.study.file import load_study


def backend_of(to: str) -> Backend[Options]:
    """The way to hand jobs over that `--to` names."""
    try:
        found: Backend[Options] = JOBS[JOBS.known(to)]
    except ValueError as error:
        raise InputError(f"--to: {error}") from None
    return found


def job_of(study: Path, overrides: Sequence[str], backend: Backend[Options], options: Options) -> Job:
    """The study as a job. Raises InputError, with a line for each mistake in the study, its keys or the options."""
    settings = backend.settings(load_study(study, overrides), options)
    given = (*settings, *overrides)
    loaded = load_study(study, given)
    job = Job(
        name=loaded.name,
        text=study.read_text(encoding="utf-8"),
        path=study,
        overrides=given,
        engine=loaded.search.engine,
        address=loaded.search.ray.address if loaded.search.engine == "ray" else None,
        devices=devices_of(loaded),
        shared=loaded.search.ray.shared,
    )
    if problems := list(backend.refused(job, options)):
        raise InputError("\n".join(problems))
    return job


def devices_of(study: Study) -> tuple[str, ...]:
    """The Ray resources by which targets are measured, each once."""
    return tuple(dict.fromkeys(target.device for target in study.targets if target.device is not None))


def submit(study: Path, overrides: Sequence[str], to: str, given: Sequence[str], *, dry_run: bool) -> str:
    """The job's text, if it is only to be printed; else the words of whoever took it. Raises SubmitFailed."""
    backend = backend_of(to)
    options = read_options(backend.options, given)
    job = job_of(study, overrides, backend, options)
    return backend.text(job, options) if dry_run else backend.submit(job, options)


def options_table(to: str) -> Table:
    """Every option of a way to hand jobs over."""
    table = Table("option", "default", "meaning", title=f"--set OPTION=VALUE of --to {to}")
    for row in option_rows(backend_of(to).options):
        table.add_row(*row)
    return table
