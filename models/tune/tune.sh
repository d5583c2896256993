#!/bin/sh
# From pairs with masks to a tuned, evaluated bundle:
#
#   PYTHON=.venv/bin/python WORK=/some/disk ./tune.sh PAIRS [HELD_OUT_PAIRS]
#
# PAIRS and HELD_OUT_PAIRS are folders as annotate.py reads them; without the second
# the figures are those of the pairs that were learned. MINUTES=60 bounds the training;
# STEPS=2 tries the whole way in a minute.
set -eu
pairs=$1
held=${2:-$1}
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
python=${PYTHON:-python3}
work=${WORK:-$here/work}
weights=${WEIGHTS:-$root/models/nano/weights}

"$python" "$here/annotate.py" --pairs "$pairs" --out "$work/train"
"$python" "$here/annotate.py" --pairs "$held" --out "$work/held-out"
# Generated pairs keep what the model knows of other places.
cd "$root/models/nano"
[ -e "$work/generated/scenes.json" ] || "$python" generate.py --seed 301 --count "${GENERATED:-400}" --out "$work/generated"
"$python" "$here/finetune.py" --weights "$weights" --set "$work/train" --set "$work/generated" \
    --write "$work/weights" --minutes "${MINUTES:-60}" ${STEPS:+--steps "$STEPS"}
"$python" fit_fusion.py --weights "$work/weights" --set "$work/held-out" --set "$work/generated" --write

tuned=$work/weights
cd "$root"
cargo run --release --bin dvlm-export -- build \
    --vit "$tuned/eva_vit_g.pth" --checkpoint "$tuned/checkpoint_best.pth" \
    --llm "$tuned/llm" --bert-vocab "$tuned/bert/vocab.txt" --config "$tuned/deltavlm.json" \
    --precision int8 --target cpu --out "$work/bundle"
cargo run --release --bin dvlm -- eval --bundle "$work/bundle" \
    --annotations "$work/held-out"/annotations/changechat_*.json --images "$work/held-out/images"
