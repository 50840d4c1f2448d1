"""An sbatch script: one node by the study's own engine, or a Ray cluster of several for as long as the job lasts.

Before its time limit Slurm sends TERM to the script alone; the script sends it on, waits until the driver has saved
what runs, and queues the job again, which goes on with the run folder. https://slurm.schedmd.com/sbatch.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from shlex import quote
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from nas.jobs.handing import hand_to
from nas.jobs.job import Backend, Job, on_ray
from nas.jobs.options import AtLeastOne, Line, Lines, NotNegative, Options
from nas.jobs.shell import path_word, run_folder, words
from nas.jobs.slurm_ray import ADDRESS, cluster
from nas.study import Study

# sbatch reads #SBATCH lines by rules of its own for quotes and #: values that need none.
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_./,:@%+=\[\]&|*-]+$", max_length=500)]


def _as_directive(given: Any) -> Any:
    if isinstance(given, str) and given.startswith("-"):
        raise ValueError(f"expected a value, not an option, got {given!r}")
    return given


Directive = Annotated[Word, BeforeValidator(_as_directive)]


class SlurmOptions(Options):
    """Options of `nas submit --to slurm`."""

    name: Directive | None = Field(None, description="Name of the job; the study's by default.")
    nodes: AtLeastOne = Field(
        1, description="Nodes; of several the first drives and measures, and nothing trains there."
    )
    cpus: AtLeastOne = Field(4, description="Cores of a node.")
    memory: Directive | None = Field(None, description="Memory of a node, as 16G; the partition's default by default.")
    gpus: NotNegative = Field(0, description="GPUs of a node.")
    time: Directive | None = Field(None, description="Time limit, as 60 or 1-12:00:00; the partition's by default.")
    partition: Directive | None = Field(None, description="Partition.")
    account: Directive | None = Field(None, description="Account.")
    qos: Directive | None = Field(None, description="Quality of service.")
    constraint: Directive | None = Field(None, description="Features that nodes must have.")
    reservation: Directive | None = Field(None, description="Reservation.")
    nodelist: Directive | None = Field(None, description="Nodes that must be among them.")
    exclusive: bool = Field(False, description="Whether nodes are not shared with other jobs: latency is steadier so.")
    notice_seconds: AtLeastOne = Field(
        120, description="Seconds before the time limit at which the driver is told to save what runs."
    )
    restarts: NotNegative = Field(100, description="How often the job is queued again, at most.")
    modules: Lines = Field((), description="Environment modules to load, comma-separated.")
    environment: Line | None = Field(
        None, description="Folder of the virtual environment with compact-nas; by default that of whoever submits."
    )
    runs: Line = Field(
        "runs",
        description="Folder of run folders that all nodes see, from where sbatch is called; this study's is "
        "runs/<study name>.",
    )
    log: Directive = Field("%x-%j.log", description="File for what the driver prints; %x is the job's name, %j its id.")


# Option -> what it is called in #SBATCH lines.
DIRECTIVES = {
    "nodes": "nodes",
    "cpus": "cpus-per-task",
    "memory": "mem",
    "gpus": "gpus-per-node",
    "time": "time",
    "partition": "partition",
    "account": "account",
    "qos": "qos",
    "constraint": "constraint",
    "reservation": "reservation",
    "nodelist": "nodelist",
    "log": "output",
}


def script_text(job: Job, options: SlurmOptions) -> str:
    """The script, as `sbatch` takes it."""
    parts = [
        "#!/bin/bash",
        *_directives(job, options),
        "",
        f"# Runs the study {job.name}. TERM, some time before the end, has it saved and queued again to go on.",
        *([f"module load {words(options.modules)}"] if options.modules else []),
        *([f"source {path_word(options.environment + '/bin/activate')}"] if options.environment else []),
        "set -u",
        "export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK  # srun does not take it from sbatch",
        "",
        _SIGNALS,
        *([cluster(job.devices)] if options.nodes > 1 else []),
        _run(job, options),
        _ending(options.restarts),
    ]
    return "\n".join(parts)


def _directives(job: Job, options: SlurmOptions) -> Iterator[str]:
    yield f"#SBATCH --job-name={options.name or job.name}"
    yield "#SBATCH --ntasks-per-node=1"
    for name, directive in DIRECTIVES.items():
        if value := getattr(options, name):
            yield f"#SBATCH --{directive}={value}"
    if options.exclusive:
        yield "#SBATCH --exclusive"
    if options.nodes > 1:
        yield "#SBATCH --no-kill"  # a node that is lost costs its trials, not the job
    yield "#SBATCH --open-mode=append"
    yield "#SBATCH --requeue"
    yield f"#SBATCH --signal=B:TERM@{options.notice_seconds}"


_SIGNALS = """\
driver='' told=''
tell() {
  told=${told:-$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T)}
  [ -z "$driver" ] || kill -TERM "$driver" 2>/dev/null
}
trap tell TERM
# The time limit is announced to this script, preemption to steps alone: this one passes it on.
srun --overlap --nodes=1 --ntasks=1 --nodelist="$SLURMD_NODENAME" -- \\
  bash -c 'trap "kill -TERM $0; exit" TERM; sleep infinity & wait' $$ &>/dev/null &
"""


def _run(job: Job, options: SlurmOptions) -> str:
    where = f" {ADDRESS}" if options.nodes > 1 else ""
    overrides = f" {words(job.overrides)}" if job.overrides else ""
    out = path_word(run_folder(job, options.runs))
    return f"""\
nas run {quote(str(job.path))}{overrides}{where} --out {out} &
driver=$!
[ -z "$told" ] || tell
while wait "$driver"; code=$?; kill -0 "$driver" 2>/dev/null; do :; done  # a signal ends a wait, not the driver
"""


def _ending(restarts: int) -> str:
    return f"""\
# Not what was cancelled: its state is COMPLETING when the notice comes.
if [ "$told" = RUNNING ] && [ "$code" -ne 0 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {restarts} ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


def _settings(study: Study, options: SlurmOptions) -> Sequence[str]:
    return on_ray(study) if options.nodes > 1 else []


def _refused(job: Job, options: SlurmOptions) -> Iterator[str]:
    if options.nodes > 1 and job.engine != "ray":
        yield f"search.engine: expected ray with --set nodes={options.nodes}, got {job.engine}"
    is_elsewhere = options.nodes == 1 and job.address is not None  # on a Ray cluster that has the devices
    least = 2 + len(job.devices)
    if job.devices and options.nodes < least and not is_elsewhere:
        wanted = f"at least {least}: the driver's, one that trains, and one for each of {', '.join(job.devices)}"
        yield f"--set nodes: expected {wanted}, got {options.nodes}"


def _submit(job: Job, options: SlurmOptions) -> str:
    return hand_to(["sbatch"], script_text(job, options))


SLURM = Backend(SlurmOptions, _settings, _refused, script_text, _submit)
