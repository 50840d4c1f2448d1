"""What is seen of a compression: what it is at, and at its end the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from nas.compression.comparison import Comparison, LayerChange, lines, percent
from nas.compression.doubts import doubts_of
from nas.executors.view import BAR_WIDTH, DOING
from nas.report.figures import NONE, count
from nas.tasks import Progress

WIDEST = 1000  # characters of a table, which is never cut


@dataclass(frozen=True)
class Bar:
    """One bar that moves with the training it is told of; `begin` names what follows."""

    bars: Bars
    row: TaskID

    def begin(self, what: str) -> None:
        self.bars.reset(self.row, description=escape(what), total=None, doing="")

    def tell(self, progress: Progress) -> None:
        """What an evaluation is at."""
        words = DOING.get(progress.part, progress.part)
        if progress.stage:
            words = f"{progress.stage}, epoch {progress.epochs:.1f} of {progress.budget}"
            words += f", {progress.images_per_second:,.0f} images/s" if progress.images_per_second else ""
        self.bars.update(
            self.row, completed=progress.epochs, total=progress.budget or None, doing=escape(words), refresh=False
        )


@contextmanager
def showing(console: Console) -> Iterator[Bar]:
    """A bar, while it lasts, where the console is a terminal."""
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(BAR_WIDTH), TextColumn("{task.fields[doing]}"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        yield Bar(bars, bars.add_task("beginning", total=None, doing=""))


def print_comparison(console: Console, comparison: Comparison, *, layers: bool = False) -> None:
    """The table, in full on any terminal, and what else is to be said."""
    blocks = [figures_table(comparison), *([layers_table(comparison.layers)] if layers else [])]
    for block in blocks:
        with _as_wide_as(block, console):
            console.print(block, crop=False, no_wrap=True, overflow="ignore")
    for doubt in doubts_of(comparison):
        console.print(f"[yellow]warning:[/] {escape(doubt)}", soft_wrap=True, highlight=False)


@contextmanager
def _as_wide_as(block: Table, console: Console) -> Iterator[None]:
    """The console with room for the whole block: a table is cut to its width."""
    width = console.width
    console.width = max(width, Measurement.get(console, console.options.update(max_width=WIDEST), block).maximum)
    try:
        yield
    finally:
        console.width = width


def figures_table(comparison: Comparison) -> Table:
    table = Table(title=escape(f"{comparison.base}: {comparison.plan}"))
    for column in ("figure", "before", "after", "after / before", "smaller by"):
        table.add_column(column, justify="left" if column == "figure" else "right", no_wrap=True)
    for line in lines(comparison):
        table.add_row(escape(line.label), line.before, line.after, line.ratio, line.times)
    return table


def layers_table(layers: Iterable[LayerChange]) -> Table:
    table = Table(title="layer by layer: before -> after")
    for column in ("layer", "kind", "channels", "parameters", "MACs", "format", "ran", "zeros (%)"):
        left = column in ("layer", "kind", "format", "ran")
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    for layer in layers:
        ranks = f" rank {'+'.join(map(str, layer.ranks))}" if layer.ranks else ""
        table.add_row(
            escape(layer.name),
            layer.before.kind,
            _change(*layer.channels),
            _change(*layer.parameters),
            _change(*layer.macs),
            layer.formats + ranks,
            layer.ran,
            NONE if layer.sparsity is None else percent(layer.sparsity),
        )
    return table


def _change(before: int, after: int) -> str:
    return count(before) if before == after else f"{count(before)} -> {count(after)}"
