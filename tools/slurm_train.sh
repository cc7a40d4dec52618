#!/usr/bin/env bash
# Train on a Slurm cluster, one task per GPU.
set -euo pipefail

if [[ $# -lt 3 || ! -f $3 ]]; then
    [[ $# -lt 3 ]] || echo "CONFIG '$3' is not a file." >&2
    cat >&2 <<'USAGE'
usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of tools/train.py]

  GPUS=16 tools/slurm_train.sh gpu pretrain CONFIG --work-dir work_dirs/run --resume

Variables:
  GPUS           number of GPUs, and of tasks      (default 8)
  GPUS_PER_NODE  GPUs of one machine               (default 8, at most GPUS)
  CPUS_PER_TASK  cores for each GPU                (default 8)
  SRUN_ARGS      other arguments of srun, such as "--time=12:00:00"
  SIGNAL_AHEAD   seconds before the time limit at which to save and stop (default 120)
  REQUEUES       maximum number of requeues after a stop with a checkpoint (default 100)
  PYTHON         interpreter                       (default python, else .venv/bin/python)

A stopped run is queued again and resumes from its newest intact checkpoint. Inside a batch job the
job is requeued; elsewhere srun is started again.
USAGE
    exit 2
fi

partition=$1
job_name=$2
config=$3
shift 3
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [[ -z ${PYTHON:-} ]]; then
    PYTHON=$tools/../.venv/bin/python
    [[ -z ${VIRTUAL_ENV:-}${CONDA_PREFIX:-} && -x $PYTHON ]] || PYTHON=python
fi
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-8}
[[ $per_node -le $gpus ]] || per_node=$gpus

export PYTHONPATH=$tools/..${PYTHONPATH:+:$PYTHONPATH}
preempted=75 # exit code of tools/train.py after a checkpoint on SIGTERM or SIGUSR1
arguments=("$@")
for ((attempt = 0; ; attempt++)); do
    code=0
    # SRUN_ARGS contains several arguments, so it is not quoted.
    # shellcheck disable=SC2086
    srun \
        --partition="$partition" \
        --job-name="$job_name" \
        --gres=gpu:"$per_node" \
        --ntasks="$gpus" \
        --ntasks-per-node="$per_node" \
        --cpus-per-task="${CPUS_PER_TASK:-8}" \
        --kill-on-bad-exit=1 \
        --signal="USR1@${SIGNAL_AHEAD:-120}" \
        ${SRUN_ARGS:-} \
        "$PYTHON" -u "$tools/train.py" "$config" --launcher slurm "${arguments[@]}" || code=$?
    [[ $code -eq $preempted && $attempt -lt ${REQUEUES:-100} ]] || exit "$code"
    if [[ -n ${SLURM_JOB_ID:-} ]]; then
        exec scontrol requeue "$SLURM_JOB_ID"
    fi
    arguments=("$@" --resume)
done
