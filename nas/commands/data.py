"""What will be trained on, as `nas check`, its probe and `nas run` show it."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from nas.commands.steps import few_steps, steps_words
from nas.data.describe import DataSummary, describe
from nas.data.of_study import loaded_of
from nas.data.tables import data_table, data_warnings, data_words
from nas.study import Study

MOST_READ = 20_000  # images that `nas check` decodes: a minute or two of photographs, which the run then finds


def look_at_data(study: Study, console: Console) -> None:
    """List the data, read them where that takes no more than a minute or two, and show what there is.

    Raises InputError where they cannot be used.
    """
    leaks = tuple[str, ...]()
    with console.status("looking at the files"):
        summary = describe(study)
    count = summary.total("train") + summary.total("validation")
    if count <= MOST_READ:
        with console.status("reading the data"):
            data = loaded_of(study, "finals")
            summary, leaks = describe(study, data), data.leaks
    show_data(study, summary, console)
    if count > MOST_READ:
        console.print(f"Files were looked at; pixels are read when the study is probed or run ({count:,} images).")
    for leak in leaks:
        console.print(f"[yellow]warning:[/] {escape(leak)}", soft_wrap=True)


def show_data(study: Study, summary: DataSummary, console: Console) -> None:
    """Images per class and part, what was left out and why, steps of training, and what to look at."""
    console.print(data_table(summary))
    for line in (*data_words(summary), *steps_words(study, summary)):
        console.print(escape(line), highlight=False, soft_wrap=True)
    for warning in (*data_warnings(summary), *few_steps(study, summary)):
        console.print(f"[yellow]warning:[/] {escape(warning)}", soft_wrap=True)
