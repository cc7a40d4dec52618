#!/usr/bin/env bash
# Draw the pictures in docs/images, all or those whose names are given:
#   docs/pictures.sh masks.jpg features_pca.jpg
# They show photographs that ship with the project. Trainings that are finished in
# work_dirs/pictures are not repeated.
set -euo pipefail
cd "$(dirname "$0")/.."
work=${WORK:-work_dirs/pictures} images=docs/images photographs=demo/clothing10.zip
runs=$work/campaign/clothing10

run() { # METHOD...: their runs with the first seed in the campaign on these photographs
    local method
    for method; do
        python tools/campaign.py docs/campaign/clothing10.yaml --work-dir "$work/campaign" \
            --results "$work/campaign/results" --only "${method}_seed0"
    done
}

evolve() { # METHOD PICTURE
    run MAE "$1"
    mmmask visualize "$runs/configs/$1.py" "$runs/$1_seed0/epoch_16.pth" \
        --evolution --num-images 4 --out "$2"
}

demonstrate() { # FOLDER KEY=VALUE...: the demo, which draws two pictures
    [ -e "$work/$1/neighbours.png" ] || python tools/demo.py --work-dir "$work/$1" "${@:2}"
}

small() { # a short demo, whose backbone has just begun to learn
    demonstrate small --cfg-options train_cfg.max_epochs=4 param_scheduler.warmup_epochs=1
}

draw() { # NAME
    local out=$images/$1 kind=${1%.*}
    case $1 in
        demo.jpg) demonstrate demo && convert "$work/demo/reconstruction.png" "$out" ;;
        neighbours.jpg) demonstrate demo && convert "$work/demo/neighbours.png" "$out" ;;
        features_*)
            small
            mmmask visualize "$work/small" --features "${kind#features_}" --images $photographs \
                --num-images 3 --out "$out"
            rm -f $images/features_duplicates.csv # the list beside the picture
            ;;
        report.png)
            small
            mmmask report "$work/small" --out "$work/report.html"
            chromium-headless-shell --no-sandbox --hide-scrollbars --window-size=1240,1000 \
                --screenshot="$out" "file://$(realpath -m "$work/report.html")"
            ;;
        masks.jpg)
            mmmask visualize configs/demo/ijepa_vit-tiny_digits.py --masks --images $photographs \
                --num-images 2 --out "$out"
            ;;
        evolution.jpg) evolve EHM "$out" ;;
        evolution-epm.jpg) evolve EPM "$out" ;;
        contrastive_crop.jpg)
            run "CMAE (Mao)"
            mmmask visualize "$runs/configs/CMAE (Mao).py" \
                "$runs/CMAE (Mao)_seed0"/epoch_{4,8,12,16}.pth --boxes --num-images 4 --out "$out"
            ;;
        *) echo "$1 is none of the pictures: "$(ls $images) >&2; return 1 ;;
    esac
}

convert() { # PNG JPEG
    python -c 'import sys; from PIL import Image; Image.open(sys.argv[1]).convert("RGB").save(sys.argv[2], quality=85)' "$@"
}

[ $# -gt 0 ] || set -- $(ls $images)
for name; do draw "$name"; done
