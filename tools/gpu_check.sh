#!/usr/bin/env bash
# Run the checks that need a GPU, in steps of less than nine minutes each, and print Markdown.
set -euo pipefail

usage() {
    cat <<'USAGE'
usage: tools/gpu_check.sh [STEP|all]

  tests           the tests marked gpu
  step-METHOD     a training step of a method in bf16, eager and with compiled blocks, beside
                  mmpretrain's masked autoencoder; METHOD is one of those in this file, such as mae
  data            images and step together, and the time spent waiting for images
  train           a short training, with its first and last loss and k-NN accuracy
  all             (default) the steps that have not succeeded yet; each leaves a file
                  work_dirs/gpu_check/STEP.done, which makes it run again when removed

For a machine without OpenMMLab and without network, first run tools/gather_wheels.sh elsewhere
and copy the folder .wheels/ to it.

Variables:
  TINY_IMAGENET_ZIP  images to train on  (default data/tiny-imagenet.zip; digits if absent)
  EPOCHS             length of training  (default 20)
  BATCH_SIZE         batch of benchmark  (default 256)
  PYTHON             interpreter         (default python3)
USAGE
}

declare -A configs=(
    [mae]=mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k
    [localmim]=localmim/localmim_vit-base-p16_8xb256-amp-coslr-100e_in1k
    [localmim-swin]=localmim/localmim_swin-base-hog_8xb256-amp-coslr-100e_in1k
    [ehm]=evolved/ehm_vit-base-p16_8xb512-amp-coslr-300e_in1k
    [epm]=evolved/epm_vit-base-p16_8xb512-amp-coslr-300e_in1k
    [cmae-mao]=cmae/cmae-mao_vit-base-p16_1xb64-amp-coslr-300e_tiny-imagenet
    [cmae-huang]=cmae/cmae-huang_vit-base-p16_8xb512-amp-coslr-300e_in1k
    [crossmae]=crossmae/crossmae_vit-base-p16_8xb512-amp-coslr-800e_in1k
    [ijepa]=ijepa/ijepa_vit-base-p16_8xb256-amp-coslr-600e_in1k
    [data2vec2]=data2vec2/data2vec2_vit-base-p16_8xb32-amp-coslr-75e_in1k
    [simmim]=simmim/simmim_swin-base_16xb128-amp-coslr-100e_in1k-192px
    [spark]=spark/spark_resnet-50_8xb512-amp-coslr-1600e_in1k
    [fcmae]=spark/fcmae_convnext-base_8xb512-amp-coslr-800e_in1k
    [maskdeep]=maskdeep/maskdeep_resnet-50_16xb256-amp-coslr-200e_in1k
)
methods=(mae localmim localmim-swin ehm epm cmae-mao cmae-huang crossmae ijepa data2vec2 simmim
         spark fcmae maskdeep)
convolutions=' spark fcmae maskdeep '  # without blocks to compile
steps=(tests "${methods[@]/#/step-}" data train)

step=${1:-all}
[[ $# -le 1 && " ${steps[*]} all " == *" $step "* ]] || { usage >&2; exit 2; }
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
output=work_dirs/gpu_check
mkdir -p "$output"
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

if ! "$python" -c 'import mmpretrain' 2> /dev/null; then
    site=$PWD/.cache/gpu_check
    [[ -d .wheels ]] || {
        echo 'mmpretrain and the folder .wheels/ are missing: run tools/gather_wheels.sh on a machine' >&2
        echo 'with a network, and copy .wheels/ to this one.' >&2
        exit 1
    }
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --upgrade \
        --target "$site" .wheels/*.whl
    export PYTHONPATH=$PYTHONPATH:$site
fi
"$python" - <<'PYTHON'
import sys, torch
if not torch.cuda.is_available():
    sys.exit('no CUDA device: every step of this script needs one.')
print(f'{torch.cuda.get_device_name()}, torch {torch.__version__}, '
      f'Python {sys.version.split()[0]}\n')
PYTHON

limited() {
    local status=0
    timeout 9m "$@" || status=$?
    [[ $status -ne 124 ]] || echo "stopped after nine minutes: $*" >&2
    return $status
}

tests() {
    limited "$python" -m pytest -m gpu -q -p no:cacheprovider \
        tests/test_gpu.py tests/test_operators.py
}

measure() {  # METHOD
    local options=(--vs-mmpretrain-mae --amp bf16 --batch-size "${BATCH_SIZE:-256}")
    [[ $convolutions == *" $1 "* ]] || options+=(--compile)
    limited "$python" tools/benchmark.py "configs/${configs[$1]}.py" "${options[@]}" \
        --json "$output/$1.json"
    report "$output/$1.json"
}

data() {
    local zip=${TINY_IMAGENET_ZIP:-data/tiny-imagenet.zip} config=$output/data.py
    if [[ -f $zip ]]; then
        local base=localmim_vit-tiny-p8_1xb256-amp-coslr-200e_tiny-imagenet-64px
        printf "_base_ = '%s'\ntrain_dataloader = dict(num_workers=12, dataset=dict(source='%s'))\n" \
            "$PWD/configs/localmim/$base.py" "$zip" > "$config"
    else
        echo "$zip does not exist: waiting for digits"
        config=configs/demo/localmim_vit-tiny_digits.py
    fi
    limited "$python" tools/benchmark.py "$config" --amp bf16 \
        --batch-size "${BATCH_SIZE:-256}" --data --json "$output/data.json"
    report "$output/data.json"
}

report() {  # JSON
    "$python" - "$1" <<'PYTHON'
import json, sys
report = json.load(open(sys.argv[1]))
columns = ('config', 'step (ms)', 'ratio', 'images/s', 'peak memory (GiB)', 'of ceiling',
           'waiting for data')
print('\n| ' + ' | '.join(columns) + ' |\n|' + '---|' * len(columns))
for row in report['results']:
    print(f"| {row['name']} | {row['seconds'] * 1e3:.1f} | {row['ratio']:.2f} "
          f"| {row['images_per_second']:.0f} | {(row['peak_memory'] or 0) / 2**30:.1f} "
          f"| {row['utilization'] or 0:.0%} "
          f"| {'-' if row['waiting'] is None else format(row['waiting'], '.0%')} |")
print('\n' + '; '.join(f'{key} {value}' for key, value in report['machine'].items()))
PYTHON
}

train() {
    local zip=${TINY_IMAGENET_ZIP:-data/tiny-imagenet.zip}
    local config options
    if [[ -f $zip ]]; then
        config=configs/localmim/localmim_vit-tiny-p8_1xb256-amp-coslr-200e_tiny-imagenet-64px.py
        options=(
            "train_dataloader.dataset.source=$zip"
            "custom_hooks.1.bank.source=$zip"
            "custom_hooks.1.query.source=$zip"
            "custom_hooks.2.dataset.source=$zip"
            train_dataloader.num_workers=12
        )
    else
        echo "$zip does not exist: training on digits"
        config=configs/demo/localmim_vit-tiny_digits.py
        options=()
    fi
    rm -rf "$output/train"
    limited "$python" tools/train.py "$config" --amp bf16 \
        --work-dir "$output/train" --cfg-options "${options[@]}" \
        "train_cfg.max_epochs=${EPOCHS:-20}" param_scheduler.warmup_epochs=2 \
        custom_hooks.1.interval=2
    "$python" - "$output/train" "$config" <<'PYTHON'
import json, sys
from pathlib import Path
(log,) = Path(sys.argv[1]).glob('*/vis_data/scalars.json')
rows = [json.loads(line) for line in log.read_text().splitlines()]
losses = [row['loss'] for row in rows if 'loss' in row]
knn = [row['knn_top1'] for row in rows if 'knn_top1' in row]
print('\n| config | loss, first to last | k-NN top-1, first to last |\n|---|---|---|')
print(f'| {Path(sys.argv[2]).stem} | {losses[0]:.4f} to {losses[-1]:.4f} '
      f'| {knn[0]:.2f} to {knn[-1]:.2f} |')
PYTHON
}

case $step in
    all)
        status=0
        for name in "${steps[@]}"; do
            [[ ! -e $output/$name.done ]] || { echo "$name: done before"; continue; }
            if tools/gpu_check.sh "$name"; then touch "$output/$name.done"; else status=1; fi
        done
        exit $status
        ;;
    step-*) measure "${step#step-}" ;;
    *) "$step" ;;
esac
