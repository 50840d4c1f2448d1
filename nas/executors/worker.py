"""A worker process: reads tasks as lines of JSON, evaluates them, answers each with a line. Dies with its driver."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, TextIO

from nas.errors import InputError, nobodys_fault
from nas.executors.notices import tell_notices
from nas.machine import die_with, is_spent, limit_memory
from nas.run_folder.paths import RunFolder
from nas.tasks import Progress, Rung, Task, Verdict

GONE = "the driver is gone"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--driver", type=int, required=True, help="process to die with")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--answers", type=int, required=True, help="descriptor that answers are written to")
    arguments = parser.parse_args()
    # The driver decides what they mean. Batch systems send SIGTERM to every process of a job: a worker that died of it
    # would be held against its candidate.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    die_with(arguments.driver)
    os.set_inheritable(arguments.answers, False)  # a child that lives on would hide this process's end
    line = Line(sys.stdin, os.fdopen(arguments.answers, "w", buffering=1, encoding="utf-8"))
    try:
        serve(RunFolder(arguments.folder), arguments.threads, line)
    except InputError as error:
        line.say(refused=str(error))
        sys.exit(str(error))


class Line:
    """The line to the driver: one JSON object per line, each way. Without a driver this process ends.

    It ends as no error does: that the driver was killed says nothing of the candidate.
    """

    def __init__(self, incoming: TextIO, outgoing: TextIO) -> None:
        self._incoming, self._outgoing = incoming, outgoing

    def say(self, **answer: Any) -> None:
        try:
            self._outgoing.write(json.dumps(answer) + "\n")
        except BrokenPipeError:
            sys.exit(GONE)

    def hear(self) -> str:
        """The driver's next line; empty where the driver is gone."""
        return self._incoming.readline()

    def tell(self, progress: Progress) -> None:
        """Say what the task is at; nobody answers."""
        self.say(progress=vars(progress))

    def report(self, rung: Rung) -> Verdict:
        """Ask the driver whether to go on."""
        self.say(rung=vars(rung))
        if not (answer := self.hear()):
            sys.exit(GONE)
        return Verdict(json.loads(answer)["verdict"])


def serve(folder: RunFolder, threads: int, line: Line) -> None:
    """Evaluate tasks until the driver's line ends."""
    import torch
    import torch._dynamo  # what torch.optim imports at its first step: no candidate's time or memory should hold it

    from nas.data import load
    from nas.evaluate import evaluate_safely
    from nas.study.file import load_recorded
    from nas.training.reporting import Interrupted
    from nas.workbench import Workbench

    torch.set_num_threads(threads)
    study = load_recorded(folder.study)
    data = load(study.data, input_size=study.space.input_sizes[-1], seed=study.search.seed)
    bench = Workbench(study, data, folder=folder)
    bench.read_all()  # now, so that no candidate's time holds it
    if study.search.trial_gigabytes is not None:
        limit_memory(study.search.trial_gigabytes)
    tell_notices(lambda text: line.say(notice=text))
    line.say(ready=os.getpid())
    while text := line.hear():
        task = Task.from_line(text)
        try:
            evaluate_safely(task, bench, report=line.report, tell=line.tell)
        except Interrupted:  # the driver said PAUSE: the checkpoint is written
            line.say(paused=task.number)
        except Exception as error:
            # A full disk is no fault of the candidate: it stays unfinished, and the driver ends the run. Nor is it that
            # nobody measures its file.
            if (problem := nobodys_fault(error)) is None:
                raise
            line.say(broke=problem)
        else:
            line.say(done=task.number, spent=is_spent(study.search.trial_gigabytes))


if __name__ == "__main__":
    main()
