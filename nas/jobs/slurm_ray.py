"""The part of an sbatch script that makes the job's nodes a Ray cluster."""

from __future__ import annotations

import json
from collections.abc import Sequence
from shlex import quote

ADDRESS = 'search.ray.address="$address"'


def cluster(devices: Sequence[str]) -> str:
    """Commands that start Ray on every node, by srun, and set `address`.

    The first node offers no cores: there the driver runs and measures. The next ones offer a device each, and no cores
    either; the others train.
    """
    offers = "\n".join(f"offers[{n}]={quote(_offer(device))}" for n, device in enumerate(devices, start=1))
    return f"""\
# A Ray cluster of the job's own: free ports, its own folder, and a token that only this job knows.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0
RAY_AUTH_TOKEN=$(python3 -c 'import secrets; print(secrets.token_hex(32))')
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
folder=/tmp/ray-$SLURM_JOB_ID
free_port() {{ python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])'; }}
steps=()
# Ray outlives the notice of preemption: the driver needs it to save what runs. A busy node may need a second try.
on() {{
  local node=$1 keep='trap "" TERM; for _ in 1 2 3; do "$@" && exit; sleep 5; done; exit 1'; shift
  srun --overlap --nodes=1 --ntasks=1 --nodelist="$node" -- bash -c "$keep" on "$@" &
  steps+=("$!")
}}
clean() {{
  kill "${{steps[@]}}" 2>/dev/null; wait "${{steps[@]}}"
  srun --overlap --ntasks-per-node=1 -- rm -rf -- "$folder"
}}
trap clean EXIT
address=$(hostname -I | cut -d' ' -f1):$(free_port)
on "${{nodes[0]}}" ray start --head --block --node-ip-address="${{address%:*}}" --port="${{address##*:}}" \\
  --num-cpus=0 --num-gpus=0 --include-dashboard=false --ray-client-server-port="$(free_port)" \\
  --min-worker-port=0 --max-worker-port=0 --temp-dir="$folder"
for _ in {{1..60}}; do ray health-check --address="$address" &>/dev/null && break; sleep 1; done
offers=() nothing='{{}}'
{offers}
for n in "${{!nodes[@]}}"; do
  [ "$n" -gt 0 ] || continue
  cores=$SLURM_CPUS_PER_TASK gpus=${{SLURM_GPUS_ON_NODE:-0}}
  [ -z "${{offers[n]:-}}" ] || cores=0 gpus=0
  on "${{nodes[n]}}" ray start --block --address="$address" --num-cpus="$cores" --num-gpus="$gpus" \\
    --min-worker-port=0 --max-worker-port=0 --temp-dir="$folder" --resources="${{offers[n]:-$nothing}}"
done
"""


def _offer(device: str) -> str:
    return json.dumps({device: 1})
