#!/usr/bin/env bash
# Gather wheels for a GPU machine without network in .wheels/. tools/gpu_check.sh installs them.
# That machine has Python 3.12 on x86-64 Linux with torch 2.11, torchvision, timm, OpenCV,
# scikit-image, scikit-learn, matplotlib, tensorboard, rich, einops, hypothesis and pytest.
set -euo pipefail

if [[ $# -gt 0 ]]; then
    cat >&2 <<'USAGE'
usage: tools/gather_wheels.sh

Replaces .wheels/ with the packages that a GPU machine without network lacks. Copy that folder
together with the repository to the machine, and run tools/gpu_check.sh there.

Variables:
  PYTHON  interpreter with pip  (default .venv/bin/python)
USAGE
    exit 2
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-.venv/bin/python}
wheels=.wheels
constraints=requirements/constraints.txt
packages=(
    addict yapf termcolor platformdirs
    modelindex model-index mat4py ordered-set importlib-metadata zipp mlxtend
    simplejpeg
)

"$python" -m pip --version > /dev/null || {
    echo "$python has no pip: run 'make demo' first, or set PYTHON." >&2
    exit 1
}
rm -rf "$wheels"
mkdir -p "$wheels"

echo "downloading ${#packages[@]} wheels for Python 3.12"
platforms=()
for glibc in 2_28 2_27 2_17; do
    platforms+=(--platform "manylinux_${glibc}_x86_64")
done
"$python" -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 \
    --implementation cp "${platforms[@]}" --constraint "$constraints" --dest "$wheels" \
    "${packages[@]}"

echo "building the wheels of OpenMMLab; pre-training does not need the compiled ops of mmcv"
MMCV_WITH_OPS=0 "$python" -m pip wheel --quiet --no-deps --no-cache-dir \
    --constraint "$constraints" --wheel-dir "$wheels" onedl-mmcv onedl-mmengine onedl-mmpretrain

ls -l "$wheels"
if compgen -G "$wheels/onedl_mmcv-*-cp*.whl" > /dev/null; then
    echo "the wheel of mmcv fits only one Python version, because it was built with ops." >&2
    exit 1
fi
size=$(du -sm "$wheels" | cut -f1)
echo "$size MB in $wheels"
[[ $size -lt 60 ]] || { echo "the wheels exceed 60 MB, the limit for copying them." >&2; exit 1; }
