"""Ours and the usual samplers on problems whose optimum is known: one table, one plot, every run as a JSON line.

    python studies/benchmarks/search/compare.py --table nasbench201_acc_latency.csv.gz --runs search-runs.jsonl \
        --plot search.png --json search.json

The problems are NAS-Bench-201 with measured latencies of six devices (without --table they are left out) and two joint
spaces of 80 genes, see `cells.py` and `blocks.py`. Hypervolumes are shares of the exact front's, or of the box in the
joint spaces; `clean` has the noise of training averaged out. A repeated proposal costs no evaluation. A killed command
goes on where it was; with --only and --samplers it does a part, and shows all that the file has.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import optuna
from baselines import BASELINES
from blocks import joint_spaces
from cells import LATENCIES, Cells, read_table
from optuna.samplers import BaseSampler
from ours import OURS
from plots import draw
from problems import Problem
from rich.console import Console
from run_log import Hear, Run, append, missing, perform, read, unheard
from schedule import DEVICES, JOINT, MAIN, plans
from summary import beside_stock, evaluations_needed, tables

optuna.logging.set_verbosity(optuna.logging.WARNING)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="NAS-Bench-201 with latencies, a CSV file")
    parser.add_argument("--runs", type=Path, required=True, help="JSON lines, one per run; read and continued")
    parser.add_argument("--only", nargs="+", choices=[MAIN, *JOINT, *DEVICES], help="problems; all by default")
    parser.add_argument("--samplers", nargs="*", default=[*BASELINES, *OURS], help="none: only show what there is")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", type=Path, help="a file that gets the medians and differences")
    options = parser.parse_args()
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    wanted = options.only or [*([MAIN] if options.table else []), *JOINT, *(DEVICES if options.table else [])]
    if options.table is None and any(name not in JOINT for name in wanted):
        parser.error("--table: NAS-Bench-201 needs its table")
    runs = run_all(options.runs, problems_of(options.table, wanted), options.samplers)
    show(list(runs.values()), options.plot, options.json)


def problems_of(table: Path | None, wanted: list[str]) -> dict[str, Problem]:
    spaces = joint_spaces()
    found: dict[str, Problem] = {name: spaces[name] for name in wanted if name in spaces}
    if table is not None:
        frame = read_table(table)
        found |= {f"nb201-{d}": Cells(frame, d) for d in LATENCIES if f"nb201-{d}" in wanted}
    return found


def run_all(file: Path, problems: Mapping[str, Problem], samplers: list[str]) -> dict[tuple[str, str, int], Run]:
    """Every planned run that the file lacks, each written when it is done."""
    done = read(file)
    waiting = missing(plans(list(problems), samplers), done)
    for number, plan in enumerate(waiting, 1):
        problem = problems[plan.problem]
        run = perform(plan, problem, *sampler_of(plan.sampler, problem, plan.seed))
        append(file, run)
        done[run.key] = run
        last = {measure: shares[-1] for measure, shares in run.shares.items()}
        print(f"{number}/{len(waiting)} {plan.problem} {plan.sampler} {plan.seed}: {last}, {run.seconds} s", flush=True)
    return done


def sampler_of(name: str, problem: Problem, seed: int) -> tuple[BaseSampler, Hear]:
    return OURS[name](problem, seed) if name in OURS else (BASELINES[name](seed), unheard)


def show(runs: list[Run], plot: Path | None, file: Path | None) -> None:
    console = Console(width=200)
    for table in tables(runs):
        console.print(table)
    beside, needed = beside_stock(runs), evaluations_needed(runs, "tpe")
    for row in beside:
        console.print(
            f"{row.problem}: {row.sampler} - {row.stock} at {row.evaluations}, {row.seeds} seeds: {row.difference}"
        )
    for line in needed:
        reached = f"{line.needed} ({line.share:.2f})" if line.share is not None else "not reached"
        console.print(
            f"{line.problem}: {line.sampler} has what {line.stock} has at {line.stock_evaluations}: {reached}"
        )
    if plot:
        draw(runs, plot, panels=[MAIN, *JOINT])
    if file:
        found = {"beside_stock": [row._asdict() for row in beside], "needed": [line._asdict() for line in needed]}
        file.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
