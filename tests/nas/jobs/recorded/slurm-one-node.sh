#!/bin/bash
#SBATCH --job-name=digits
#SBATCH --ntasks-per-node=1
#SBATCH --nodes=1
#SBATCH --cpus-per-task=8
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:TERM@120

# Runs the study digits. TERM, some time before the end, has it saved and queued again to go on.
source "$HOME"/venv/bin/activate
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

nas run '/shared/my studies/digits.yaml' search.trials=8 --out runs/digits &
driver=$!
[ -z "$told" ] || tell
while wait "$driver"; code=$?; kill -0 "$driver" 2>/dev/null; do :; done  # a signal ends a wait, not the driver

# Not what was cancelled: its state is COMPLETING when the notice comes.
if [ "$told" = RUNNING ] && [ "$code" -ne 0 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 100 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
