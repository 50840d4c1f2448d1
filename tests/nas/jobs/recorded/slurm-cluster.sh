#!/bin/bash
#SBATCH --job-name=digits
#SBATCH --ntasks-per-node=1
#SBATCH --nodes=4
#SBATCH --cpus-per-task=16
#SBATCH --mem=32G
#SBATCH --gpus-per-node=1
#SBATCH --time=1-00:00:00
#SBATCH --output=%x-%j.log
#SBATCH --exclusive
#SBATCH --no-kill
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:TERM@120

# Runs the study digits. TERM, some time before the end, has it saved and queued again to go on.
module load cuda/12.4 gcc
set -u
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK  # srun does not take it from sbatch

driver='' told=''
tell() {
  told=${told:-$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T)}
  [ -z "$driver" ] || kill -TERM "$driver" 2>/dev/null
}
trap tell TERM
# The time limit is announced to this script, preemption to steps alone: this one passes it on.
srun --overlap --nodes=1 --ntasks=1 --nodelist="$SLURMD_NODENAME" -- \
  bash -c 'trap "kill -TERM $0; exit" TERM; sleep infinity & wait' $$ &>/dev/null &

# A Ray cluster of the job's own: free ports, its own folder, and a token that only this job knows.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0
RAY_AUTH_TOKEN=$(python3 -c 'import secrets; print(secrets.token_hex(32))')
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
folder=/tmp/ray-$SLURM_JOB_ID
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])'; }
steps=()
# Ray outlives the notice of preemption: the driver needs it to save what runs. A busy node may need a second try.
on() {
  local node=$1 keep='trap "" TERM; for _ in 1 2 3; do "$@" && exit; sleep 5; done; exit 1'; shift
  srun --overlap --nodes=1 --ntasks=1 --nodelist="$node" -- bash -c "$keep" on "$@" &
  steps+=("$!")
}
clean() {
  kill "${steps[@]}" 2>/dev/null; wait "${steps[@]}"
  srun --overlap --ntasks-per-node=1 -- rm -rf -- "$folder"
}
trap clean EXIT
address=$(hostname -I | cut -d' ' -f1):$(free_port)
on "${nodes[0]}" ray start --head --block --node-ip-address="${address%:*}" --port="${address##*:}" \
  --num-cpus=0 --num-gpus=0 --include-dashboard=false --ray-client-server-port="$(free_port)" \
  --min-worker-port=0 --max-worker-port=0 --temp-dir="$folder"
for _ in {1..60}; do ray health-check --address="$address" &>/dev/null && break; sleep 1; done
offers=() nothing='{}'
offers[1]='{"pi5": 1}'
for n in "${!nodes[@]}"; do
  [ "$n" -gt 0 ] || continue
  cores=$SLURM_CPUS_PER_TASK gpus=${SLURM_GPUS_ON_NODE:-0}
  [ -z "${offers[n]:-}" ] || cores=0 gpus=0
  on "${nodes[n]}" ray start --block --address="$address" --num-cpus="$cores" --num-gpus="$gpus" \
    --min-worker-port=0 --max-worker-port=0 --temp-dir="$folder" --resources="${offers[n]:-$nothing}"
done

nas run '/shared/my studies/digits.yaml' search.engine=ray search.workers=auto 'objectives=[accuracy, latency_ms@pi5]' 'name=it'"'"'s; $(id)' search.ray.address="$address" --out runs/digits &
driver=$!
[ -z "$told" ] || tell
while wait "$driver"; code=$?; kill -0 "$driver" 2>/dev/null; do :; done  # a signal ends a wait, not the driver

# Not what was cancelled: its state is COMPLETING when the notice comes.
if [ "$told" = RUNNING ] && [ "$code" -ne 0 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 100 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
