#!/usr/bin/env bash
# Train with one process per GPU, or with GPUS processes on the CPU of a machine without one.
set -euo pipefail

if [[ $# -lt 2 || ! -f $1 || ! $2 =~ ^[1-9][0-9]*$ ]]; then
    [[ $# -lt 1 || -f $1 ]] || echo "CONFIG '$1' is not a file." >&2
    [[ $# -lt 2 || $2 =~ ^[1-9][0-9]*$ ]] || echo "GPUS '$2' is not a positive number." >&2
    cat >&2 <<'USAGE'
usage: tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]

  tools/dist_train.sh configs/demo/localmim_vit-tiny_digits.py 2
  tools/dist_train.sh CONFIG 8 --work-dir work_dirs/run --resume

On several machines, run it on each with these variables; PORT must be the same on all.
  NNODES       number of machines             (default 1)
  NODE_RANK    number of this machine, from 0 (default 0)
  MASTER_ADDR  address of machine 0           (default 127.0.0.1; required for several machines)
  PORT         port on machine 0              (default: a free one; 29500 for several machines)
  MAX_RESTARTS maximum number of restarts of all processes after one has died; they
               resume from the newest intact checkpoint (default 0)
  PYTHON       interpreter                    (default python, else .venv/bin/python)

SIGTERM and SIGUSR1 lead to a checkpoint and to exit code 75: start again with --resume.
Processes are killed if they are still running 30 s after that, or after another one has died.
USAGE
    exit 2
fi

config=$1
gpus=$2
shift 2
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [[ -z ${PYTHON:-} ]]; then
    PYTHON=$tools/../.venv/bin/python
    [[ -z ${VIRTUAL_ENV:-}${CONDA_PREFIX:-} && -x $PYTHON ]] || PYTHON=python
fi
nodes=${NNODES:-1}
rank=${NODE_RANK:-0}
refuse() {
    echo "$1" >&2
    exit 2
}
[[ $nodes =~ ^[1-9][0-9]*$ ]] || refuse "NNODES='$nodes' is not a positive number."
[[ $rank =~ ^[0-9]+$ && $rank -lt $nodes ]] ||
    refuse "NODE_RANK='$rank' is not a number from 0 to $((nodes - 1)), which NNODES=$nodes asks for."
[[ $nodes -eq 1 || -n ${MASTER_ADDR:-} ]] ||
    refuse "NNODES=$nodes needs MASTER_ADDR: set it to the address of machine 0, the same on all."
# Prints a port that is free, or "busy".
try_port='import socket, sys
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
try:
    listener.bind(("", int(sys.argv[1])))
    print(listener.getsockname()[1])
except (OSError, OverflowError, ValueError):
    print("busy")'
[[ $nodes -eq 1 || -n ${PORT:-} ]] || PORT=29500
if [[ $rank -eq 0 ]]; then
    found=$("$PYTHON" -c "$try_port" "${PORT:-0}" || true)
    [[ $found != busy ]] ||
        refuse "PORT=$PORT is in use or not allowed on this machine: set another, the same on all."
    PORT=${PORT:-$found}
fi
export PYTHONPATH=$tools/..${PYTHONPATH:+:$PYTHONPATH}
# torchrun would give each process one thread, and leave cores of a CPU idle.
threads=$(( $(getconf _NPROCESSORS_ONLN) / gpus ))
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(( threads > 0 ? threads : 1 ))}

# torchrun of older PyTorch forwards SIGTERM but not SIGUSR1. Both have the same effect.
knows='import importlib.util, pathlib, sys
torch = pathlib.Path(importlib.util.find_spec("torch").origin).parent
sys.exit("--signals-to-handle" not in (torch / "distributed" / "run.py").read_text())'
if "$PYTHON" -c "$knows" > /dev/null 2>&1; then
    signals=(--signals-to-handle SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1)
    on_usr1=USR1
else
    signals=()
    on_usr1=TERM
fi

# On a signal torchrun ends with 1. Exit code 75 asks a scheduler to start the run again.
stop() {
    stopped=1
    kill -s "$1" "$child" 2> /dev/null || true
}
stopped=
trap 'stop TERM' TERM
trap 'stop "$on_usr1"' USR1

"$PYTHON" -m torch.distributed.run \
    --nnodes "$nodes" \
    --node_rank "$rank" \
    --master_addr "${MASTER_ADDR:-127.0.0.1}" \
    --master_port "$PORT" \
    --nproc_per_node "$gpus" \
    --max-restarts "${MAX_RESTARTS:-0}" \
    ${signals[@]+"${signals[@]}"} \
    "$tools/train.py" "$config" --launcher pytorch "$@" &
child=$!
code=0
wait "$child" || code=$?
while kill -0 "$child" 2> /dev/null; do # a signal interrupts wait
    code=0
    wait "$child" || code=$?
done
[[ -z $stopped || $code -eq 0 ]] || code=75
exit "$code"
