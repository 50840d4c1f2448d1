"""The actor that trials run in: its own thread evaluates, while calls bring tasks and verdicts and fetch messages."""

from __future__ import annotations

import queue
import shutil
import threading
from pathlib import Path

from nas.errors import InputError
from nas.executors.ray.mailbox import Mailbox, Message
from nas.executors.ray.scratch import PREFIX, own_scratch
from nas.executors.ray.serving import Assignment, NodeSetup, evaluate_one, opened
from nas.executors.ray.whereabouts import whereabouts
from nas.run_folder.paths import RunFolder


class TrialActor:
    """One place of a cluster: evaluates one task at a time, as long as it lives."""

    def __init__(self, setup: NodeSetup, scratch: str) -> None:
        self._box = Mailbox()
        self._tasks = queue.SimpleQueue[Assignment | None]()
        self._verdicts = queue.SimpleQueue[str]()
        self._thread = threading.Thread(target=self._serve, args=(setup, scratch), daemon=True)
        self._thread.start()

    def listen(self, after: int, seconds: float) -> list[Message]:
        """Messages behind the first `after` ones, as soon as there is one."""
        return self._box.after(after, seconds)

    def begin(self, assignment: Assignment) -> None:
        """Evaluate a task; it ends with a message that says how."""
        self._tasks.put(assignment)

    def answer(self, verdict: str) -> None:
        """Answer the task's last report."""
        self._verdicts.put(verdict)

    def close(self) -> None:
        """End an idle actor's work: its files are removed when this returns."""
        self._tasks.put(None)
        self._thread.join()

    def _serve(self, setup: NodeSetup, scratch: str) -> None:
        try:
            self._evaluate(setup, scratch)
        except InputError as error:
            self._box.put(refused=str(error))
        except BaseException as error:
            self._box.put(crashed=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
            raise

    def _evaluate(self, setup: NodeSetup, scratch: str) -> None:
        import ray

        with own_scratch(scratch) as own:
            where = {**whereabouts(), "scratch": str(own)}
            self._box.put(at=where)  # before it can fail
            folder = RunFolder(setup.home if setup.is_shared else own)
            site = {"engine": "ray", "node": where["node"], "actor": where["actor"]}
            bench = opened(setup, folder, self._box, ray.get, site)
            self._box.put(ready=where)
            while (assignment := self._tasks.get()) is not None:
                evaluate_one(assignment, bench, self._box, self._verdicts)


def remove_scratch(folders: list[str]) -> None:
    """Runs on a node: remove what actors that were killed there have left, and nothing else."""
    for folder in map(Path, folders):
        if folder.is_absolute() and folder.name.startswith(PREFIX):
            shutil.rmtree(folder, ignore_errors=True)
