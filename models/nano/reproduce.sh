#!/bin/sh
# Data, tokenizers, training, weights, bundle and evaluation in one command:
#
#   python -m venv .venv && .venv/bin/pip install -r requirements.txt
#   PYTHON=.venv/bin/python WORK=/some/disk ./reproduce.sh
#
# Takes a night on 2 CPU cores and less on a GPU; started again, it continues.
# REAL=/a/folder (laid out as ground/canvases.py says) adds pairs from real pictures.
# PAIRS=500 STEPS=20 SCENES=20 tries the whole way out in minutes.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
python=${PYTHON:-python3}
work=${WORK:-$here/work}
cd "$here"

"$python" build_tokenizers.py --out "$work/weights"
"$python" build_data.py --seed 101 --count "${PAIRS:-36000}" --out "$work/train"
if [ -n "${REAL:-}" ]; then
    "$python" build_real.py --data "$REAL" --seed 1 --count "${REAL_PAIRS:-24000}" --out "$work/real"
fi
"$python" train.py --data "$work/train" ${REAL:+--real "$work/real"} --run "$work/run" \
    --tokenizers "$work/weights" ${STEPS:+--steps "$STEPS"}
"$python" train.py --run "$work/run" --write "$work/weights"

# Seeds that training never drew; the second set is also drawn from other ranges.
"$python" generate.py --seed 9001 --count "${SCENES:-1000}" --out "$work/held-out"
"$python" generate.py --seed 9002 --count "${SCENES:-1000}" --out "$work/shifted" --shifted

weights=$work/weights
cd "$root"
cargo run --release --bin dvlm-export -- build \
    --vit "$weights/eva_vit_g.pth" --checkpoint "$weights/checkpoint_best.pth" \
    --llm "$weights/llm" --bert-vocab "$weights/bert/vocab.txt" --config "$weights/deltavlm.json" \
    --precision int8 --target cpu --out "$work/bundle"
for set in held-out shifted; do
    cargo run --release --bin dvlm -- eval --bundle "$work/bundle" --json \
        --annotations "$work/$set"/annotations/changechat_*.json --images "$work/$set/images" > "$work/$set.json"
done
echo "Figures: $work/held-out.json $work/shifted.json"
