"""A worker process: reads tasks as lines of JSON, evaluates them, answers each with a line. Dies with its driver."""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import TextIO

from nas.errors import InputError, disk_problem
from nas.machine import limit_memory
from nas.run_folder.paths import RunFolder
from nas.tasks import Task

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--driver", type=int, required=True, help="process to die with")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides what Ctrl-C means
    die_with(arguments.driver)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints must not look like an answer
    try:
        serve(RunFolder(arguments.folder), arguments.threads, answers)
    except InputError as error:
        answers.write(json.dumps({"refused": str(error)}) + "\n")
        sys.exit(str(error))


def die_with(driver: int) -> None:
    """Have the kernel end this process when its parent ends (elsewhere than on Linux, the end of stdin does)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != driver:
        sys.exit("the driver is gone")


def serve(folder: RunFolder, threads: int, answers: TextIO) -> None:
    """Evaluate tasks until stdin ends."""
    import torch
    import torch._dynamo  # what torch.optim imports at its first step: no candidate's time or memory should hold it

    from nas.data import load
    from nas.evaluate import evaluate_safely
    from nas.study.file import load_study
    from nas.workbench import Workbench

    torch.set_num_threads(threads)
    study = load_study(folder.study)
    data = load(study.data, input_size=study.space.input_sizes[-1], seed=study.search.seed)
    bench = Workbench(study, data, folder=folder)
    for size in study.space.input_sizes:  # now, so that no candidate's time holds it
        bench.at(size)
    if study.search.trial_gigabytes is not None:
        limit_memory(study.search.trial_gigabytes)
    answers.write(json.dumps({"ready": os.getpid()}) + "\n")
    for line in sys.stdin:
        task = Task.from_line(line)
        try:
            evaluate_safely(task, bench)
        except Exception as error:
            # A full disk is no fault of the candidate: it stays unfinished, and the driver ends the run.
            if (problem := disk_problem(error)) is None:
                raise
            answers.write(json.dumps({"broke": problem}) + "\n")
            continue
        answers.write(json.dumps({"done": task.number}) + "\n")


if __name__ == "__main__":
    main()
