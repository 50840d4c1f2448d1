"""sbatch scripts: recorded texts, what bash makes of them, and what they do with a signal, with stand-ins for Slurm."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from jobs import JOB, LOCAL, WITH_DEVICE
from recorded import is_recorded

from nas.jobs.job import Job
from nas.jobs.options import read_options
from nas.jobs.slurm import SLURM, SlurmOptions, script_text

RECORDED = Path(__file__).parent / "recorded"
CLUSTER = ["nodes=4", "cpus=16", "memory=32G", "gpus=1", "time=1-00:00:00", "exclusive=true", "modules=cuda/12.4,gcc"]


def script(job: Job, *given: str) -> str:
    return script_text(job, read_options(SlurmOptions, given))


def refused(job: Job, *given: str) -> list[str]:
    return list(SLURM.refused(job, read_options(SlurmOptions, given)))


@pytest.mark.parametrize(
    ("job", "given", "file"),
    [(LOCAL, ["cpus=8", "environment=~/venv"], "one-node"), (WITH_DEVICE, CLUSTER, "cluster")],
)
def test_the_text_is_the_recorded_one_and_bash_reads_it(job: Job, given: Sequence[str], file: str) -> None:
    text = script(job, *given)
    assert is_recorded(text, RECORDED / f"slurm-{file}.sh")
    assert not refused(job, *given)
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def test_options_become_directives_above_the_first_command() -> None:
    head = script(JOB, *CLUSTER, "partition=gpu", "notice_seconds=300", "name=mine").partition("\n\n")[0].splitlines()
    assert head[0] == "#!/bin/bash"
    assert all(line.startswith("#SBATCH --") for line in head[1:])
    for line in ("job-name=mine", "nodes=4", "cpus-per-task=16", "mem=32G", "gpus-per-node=1", "time=1-00:00:00"):
        assert f"#SBATCH --{line}" in head
    for line in ("partition=gpu", "exclusive", "no-kill", "requeue", "signal=B:TERM@300", "ntasks-per-node=1"):
        assert f"#SBATCH --{line}" in head
    assert "no-kill" not in script(LOCAL)
    assert "ray" not in script(LOCAL)


def test_a_cluster_needs_ray_and_a_node_for_each_duty() -> None:
    assert refused(LOCAL, "nodes=2") == ["search.engine: expected ray with --set nodes=2, got local"]
    for nodes in (1, 2):
        assert refused(WITH_DEVICE, f"nodes={nodes}") == [
            f"--set nodes: expected at least 3: the driver's, one that trains, and one for each of pi5, got {nodes}"
        ]
    assert not refused(WITH_DEVICE, "nodes=3")
    assert not refused(replace(WITH_DEVICE, address="head:6379"))
    assert not refused(JOB, "nodes=2")
    assert not refused(LOCAL)


@dataclass
class Stage:
    """A folder of stand-ins: each writes its arguments, a line per call, to `calls`."""

    folder: Path

    def command(self, name: str, *, does: str = "") -> None:
        file = self.folder / name
        file.write_text(f'#!/bin/bash\necho "{name} $*" >> {self.folder}/calls\n{does}\n')
        file.chmod(0o755)

    def start(self, text: str, **environment: str) -> subprocess.Popen[bytes]:
        slurm = {
            "SLURM_CPUS_PER_TASK": "2",
            "SLURM_JOB_ID": "7",
            "SLURMD_NODENAME": "n1",
            "SLURM_JOB_NODELIST": "n[1-3]",
        }
        variables = {**os.environ, **slurm, **environment, "PATH": f"{self.folder}:/usr/bin:/bin"}
        return subprocess.Popen(["bash", "-c", text], env=variables, cwd=self.folder)

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()

    def await_call(self, beginning: str) -> None:
        for _ in range(3000):
            if (self.folder / "calls").exists() and any(call.startswith(beginning) for call in self.calls):
                return
            time.sleep(0.01)
        raise AssertionError(f"no call of {beginning}: {self.calls}")


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    made = Stage(tmp_path)
    made.command("srun")
    made.command("scontrol", does="[ $1 != show ] || printf 'n1\\nn2\\nn3\\n'")
    made.command("squeue", does="echo RUNNING")
    made.command("ray")
    return made


WORKS_UNTIL_TOLD = 'trap "sleep 0.2; echo saved >> calls; exit {code}" TERM; echo ready >> calls; sleep 60 & wait'


@pytest.mark.parametrize(
    ("state", "code", "restarts", "again"),
    [
        ("RUNNING", 143, "0", True),
        ("RUNNING", 143, "3", False),
        ("RUNNING", 0, "0", False),
        ("COMPLETING", 143, "0", False),
    ],
    ids=["unfinished", "often enough", "finished", "cancelled"],
)
def test_a_notice_is_sent_on_and_the_job_queued_again(
    stage: Stage, state: str, code: int, restarts: str, again: bool
) -> None:
    stage.command("nas", does=WORKS_UNTIL_TOLD.format(code=code))
    stage.command("squeue", does=f"echo {state}")
    running = stage.start(script(LOCAL, "restarts=3"), SLURM_RESTART_COUNT=restarts)
    stage.await_call("ready")
    running.send_signal(signal.SIGTERM)
    assert running.wait(20) == code
    assert "saved" in stage.calls  # the script waited for it
    assert ("scontrol requeue 7" in stage.calls) is again


@pytest.mark.parametrize("code", [0, 1, 2])
def test_without_a_notice_the_drivers_exit_code_is_the_jobs(stage: Stage, code: int) -> None:
    stage.command("nas", does=f"exit {code}")
    assert stage.start(script(LOCAL)).wait(20) == code
    assert not [call for call in stage.calls if "requeue" in call]
    assert "nas run /shared/my studies/digits.yaml search.trials=8 --out runs/digits" in stage.calls


def test_modules_may_read_variables_that_are_not_set(stage: Stage) -> None:
    stage.command("nas")
    module = {"BASH_FUNC_module%%": '() { echo "module $* $_LMFILES_UNSET" >> calls; }'}
    assert stage.start(script(LOCAL, "modules=gcc"), **module).wait(20) == 0
    assert "module load gcc " in stage.calls


def test_every_node_offers_what_it_is_there_for(stage: Stage) -> None:
    stage.command("srun", does='[[ "$*" != *"ray start"* ]] || { while [ "$1" != -- ]; do shift; done; shift; "$@"; }')
    stage.command("nas", does='until [ "$(grep -c "^ray start" calls)" = 3 ]; do sleep 0.02; done')
    ended = stage.start(script(WITH_DEVICE, "nodes=3", "cpus=2"), SLURM_GPUS_ON_NODE="1").wait(30)
    assert ended == 0
    starts = [call for call in stage.calls if call.startswith("ray start")]
    head, measuring, training = sorted(starts, key=lambda call: (" --head" not in call, "pi5" not in call))
    assert "--num-cpus=0 --num-gpus=0" in head
    assert "--num-cpus=0 --num-gpus=0" in measuring
    assert measuring.endswith('--resources={"pi5": 1}')
    assert "--num-cpus=2 --num-gpus=1" in training
    assert training.endswith("--resources={}")
    port = head.partition("--port=")[2].split()[0]
    (driver,) = [call for call in stage.calls if call.startswith("nas run")]
    assert f":{port} --out" in driver
    assert f":{port} " in measuring
    nodes = [
        call.partition("--nodelist=")[2].split()[0] for call in stage.calls if "ray start" in call and "srun" in call
    ]
    assert sorted(nodes) == ["n1", "n2", "n3"]
