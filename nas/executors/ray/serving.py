"""What a trial's actor does on its node: the study is read, then tasks are evaluated as a local worker does.

Without a shared disk it works in a run folder of its own, where what a task needs is put before it begins, and whose
files go back to the driver.
"""

from __future__ import annotations

import os
import platform
import queue
import shutil
import socket
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas import __version__
from nas.errors import InputError, disk_problem
from nas.executors.notices import tell_notices
from nas.executors.ray.datasets import Key, NodeData, Ref
from nas.executors.ray.mailbox import Mailbox
from nas.executors.ray.measuring import NodePlace
from nas.executors.ray.parcels import HERE, Parcel, packed, progress_of, written
from nas.files import write_atomically
from nas.machine import is_spent, limit_memory
from nas.measuring.places import PlaceLost
from nas.run_folder.artifacts import pack
from nas.run_folder.paths import LOGITS, RunFolder
from nas.study.file import load_recorded
from nas.tasks import CHECKPOINT_FILE, Progress, Rung, Task, Verdict

if TYPE_CHECKING:
    from nas.workbench import Workbench


@dataclass(frozen=True)
class NodeSetup:
    """What an actor is made with.

    `home` is the driver's run folder; `is_shared`: the actor sees it at this path. `cwd` is the user's folder, in which
    paths of a study are meant. `network` are the files of the existing network that the study is about, if it is about
    one and nothing is shared.
    """

    version: str
    study: str
    home: Path
    is_shared: bool
    threads: int
    checkpoint_seconds: float
    sets: Mapping[Key, Ref]
    places: Mapping[str, NodePlace]
    cwd: Path | None = None
    network: Ref | None = None


@dataclass(frozen=True)
class Assignment:
    """A task as it travels: its line, files that it needs, its teacher's folder with what there is of it, test splits.

    References are in containers: they are got where they are needed, and not before the call.
    """

    line: str
    parcel: Parcel = field(default_factory=dict)
    teacher: str | None = None
    teacher_files: tuple[Ref, ...] = ()
    tests: Mapping[Key, Ref] = field(default_factory=dict)


@dataclass
class Bench:
    """Where an actor works: its folder and the workbench, with what it has got so far."""

    setup: NodeSetup
    folder: RunFolder
    data: NodeData
    workbench: Workbench
    teachers: set[str] = field(default_factory=set)  # whose finished files are here, or have gone to the driver

    @property
    def root(self) -> Path:
        return self.folder.path


def opened(
    setup: NodeSetup, folder: RunFolder, box: Mailbox, get: Callable[[Ref], Any], site: Mapping[str, str]
) -> Bench:
    """Everything that all candidates need. Raises InputError where this node cannot serve the study."""
    import torch
    import torch._dynamo  # what torch.optim imports at its first step: no candidate's time or memory should hold it

    from nas.workbench import Workbench

    if setup.version != __version__:
        raise InputError(
            f"{platform.node()}: expected compact-nas {setup.version}, as the driver has, got {__version__}"
        )
    if setup.cwd is not None and setup.cwd.is_dir():
        os.chdir(setup.cwd)  # as a local worker is there
    # Images out of the object store are read-only, and nothing here writes into them.
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    torch.set_num_threads(setup.threads)
    if not setup.is_shared:
        write_atomically(folder.study, setup.study)
    if setup.network is not None:
        written(get(setup.network), folder.path, below={HERE})
    study = load_recorded(folder.study)
    data = NodeData(setup.sets, get)
    found = data.read(study.data, input_size=study.space.input_sizes[-1], seed=study.search.seed)
    places = {name: replace(place, waiting=lambda waits: box.put(waits=waits)) for name, place in setup.places.items()}
    bench = Workbench(study, found, folder=folder, places=places, read=data.read, site=site)
    if study.search.trial_gigabytes is not None:
        limit_memory(study.search.trial_gigabytes)
    tell_notices(lambda text: box.put(notice=text))
    return Bench(setup, folder, data, bench)


def evaluate_one(assignment: Assignment, bench: Bench, box: Mailbox, verdicts: queue.SimpleQueue[str]) -> None:
    """Evaluate a task; the last message says how it ended."""
    from nas.evaluate import evaluate_safely
    from nas.training.reporting import Interrupted

    given = Task.from_line(assignment.line)
    task = given if bench.setup.is_shared else moved(given, bench.setup.home, bench.root)
    bench.data.tests.update(assignment.tests)
    talk = Talk(task, bench, box, verdicts, None if bench.setup.is_shared else assignment.teacher)
    if not bench.setup.is_shared:
        _receive(assignment, task, bench)
    try:
        evaluate_safely(task, bench.workbench, report=talk.report, tell=talk.tell)
    except Interrupted:  # the driver said PAUSE: the checkpoint is written
        box.put(paused=True, parcel=talk.progress())
    except PlaceLost as error:
        box.put(broke=str(error), parcel=talk.progress())
    except Exception as error:
        if (problem := disk_problem(error)) is None:
            raise
        box.put(broke=f"{socket.gethostname()}: {problem}")
    else:
        talk.hand_over_teacher()
        spent = is_spent(bench.workbench.study.search.trial_gigabytes)
        box.put(done=None if bench.setup.is_shared else pack(task.folder), spent=spent)
    if not bench.setup.is_shared:
        _forget(task)


def moved(task: Task, home: Path, root: Path) -> Task:
    """The task with its folders below another root."""
    source = None if task.made_from is None else root / task.made_from.relative_to(home)
    return replace(task, folder=root / task.folder.relative_to(home), made_from=source)


def _receive(assignment: Assignment, task: Task, bench: Bench) -> None:
    """Put what a task needs where it looks for it, and nothing else: an attempt elsewhere may have come further."""
    _forget(task)
    parcel = dict(assignment.parcel)
    if assignment.teacher is not None and assignment.teacher not in bench.teachers:
        for ref in assignment.teacher_files:
            parcel |= bench.data.get(ref)
        if f"{assignment.teacher}/{LOGITS}" in parcel:
            bench.teachers.add(assignment.teacher)
    written(parcel, bench.root, below={str(Path(name).parent) for name in parcel})


def _forget(task: Task) -> None:
    for folder in (task.folder, *(task.at_rung(share).folder for share in task.rungs)):
        shutil.rmtree(folder, ignore_errors=True)
    if task.made_from is not None:
        shutil.rmtree(task.made_from, ignore_errors=True)


@dataclass
class Talk:
    """What a running task says, and hears; its checkpoint is sent on its way, `checkpoint_seconds` apart at least."""

    task: Task
    bench: Bench
    box: Mailbox
    verdicts: queue.SimpleQueue[str]
    teacher: str | None
    _sent: float = field(default_factory=time.monotonic)
    _known: dict[Path, int] = field(default_factory=dict)  # when the checkpoints sent were written

    def tell(self, progress: Progress) -> None:
        self.box.put(progress=vars(progress))
        if progress.part != "teach":
            self.hand_over_teacher()
        self._keep_safe()

    def report(self, rung: Rung) -> Verdict:
        """Ask the driver whether to go on; what was recorded at a rung goes with the question."""
        self._keep_safe()
        parcel = {}
        if rung.share is not None and not self.bench.setup.is_shared:
            parcel = packed(self.bench.root, self.task.at_rung(rung.share).folder)
        self.box.put(rung=vars(rung), parcel=parcel)
        return Verdict(self.verdicts.get())

    def progress(self) -> Parcel:
        """What another worker needs to go on."""
        return {} if self.bench.setup.is_shared else progress_of(self.task, self.bench.root)

    def hand_over_teacher(self) -> None:
        """Send the teacher that was trained for this task, once it is finished."""
        teacher = self.teacher
        if teacher is None or teacher in self.bench.teachers or not (self.bench.root / teacher / LOGITS).exists():
            return
        self.bench.teachers.add(teacher)
        self.box.put(parcel=packed(self.bench.root, self.bench.root / teacher))

    def _keep_safe(self) -> None:
        """Send checkpoints that are new, if enough time is over."""
        now = time.monotonic()
        if self.bench.setup.is_shared or now - self._sent < self.bench.setup.checkpoint_seconds:
            return
        parcel: Parcel = {}
        folders = [self.task.folder, *([] if self.teacher is None else [self.bench.root / self.teacher])]
        for folder in folders:
            written_at = _written_at(folder / CHECKPOINT_FILE)
            if written_at and self._known.get(folder) != written_at:
                self._known[folder] = written_at
                own = folder == self.task.folder
                parcel |= self.progress() if own else packed(self.bench.root, folder)
        if parcel:
            self._sent = now
            self.box.put(parcel=parcel)


def _written_at(file: Path) -> int:
    try:
        return os.stat(file).st_mtime_ns
    except FileNotFoundError:
        return 0
