"""A Slurm of one node on this machine, with Debian's slurm-wlm: a partition, and one that preempts it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ports import free_port

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
AuthType=auth/none
CredType=cred/none
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=5
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={node} CPUs=2
PartitionName=low Nodes=n1 Default=YES PriorityTier=1 GraceTime=60
PartitionName=high Nodes=n1 PriorityTier=10
"""
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")


def is_installed() -> bool:
    """Whether this machine can be a cluster: Slurm is there, and we may start its daemons."""
    return os.geteuid() == 0 and all(map(shutil.which, PROGRAMS))


@dataclass(frozen=True)
class Slurm:
    """A running cluster. environment: for whoever speaks to it."""

    environment: dict[str, str]

    def says(self, *command: str) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def state(self, job: str) -> str:
        return self.about(job, "JobState")

    def about(self, job: str, key: str) -> str:
        shown = self.says("scontrol", "show", "job", job, "--oneliner")
        return dict(part.partition("=")[::2] for part in shown.split())[key]

    def wait_for(self, job: str, *states: str, seconds: float = 120) -> str:
        """Wait until the job is in one of the states."""
        end = time.monotonic() + seconds
        while (state := self.state(job)) not in states:
            assert time.monotonic() < end, f"job {job} is still {state}"
            time.sleep(0.5)
        return state


@contextmanager
def one_node(folder: Path) -> Iterator[Slurm]:
    """The cluster, its files in `folder`; at the end all its jobs and daemons are."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    host = socket.gethostname()
    text = CONFIGURATION.format(host=host, folder=folder, user="root", controller=free_port(), node=free_port())
    (folder / "slurm.conf").write_text(text)
    slurm = Slurm({**os.environ, "SLURM_CONF": str(folder / "slurm.conf")})
    daemons = [
        subprocess.Popen([*command, "-D"], env=slurm.environment, stdout=log, stderr=subprocess.STDOUT)
        for command, log in (
            (["slurmctld"], (folder / "slurmctld.log").open("w")),
            (["slurmd", "-N", "n1"], (folder / "slurmd.log").open("w")),
        )
    ]
    try:
        end = time.monotonic() + 60
        while True:
            with suppress(subprocess.CalledProcessError):
                if slurm.says("sinfo", "--noheader", "--format=%T").startswith("idle"):
                    break
            assert time.monotonic() < end, (folder / "slurmctld.log").read_text()[-2000:]
            time.sleep(0.5)
        yield slurm
        subprocess.run(["scancel", "--user=root", "--full"], env=slurm.environment, check=False)
        time.sleep(1)
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            daemon.wait(30)
