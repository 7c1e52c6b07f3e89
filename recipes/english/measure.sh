#!/usr/bin/env bash
# Every figure of models/english/README.md:  bash recipes/english/measure.sh [RUN]     (after prepare.sh and prepare_tests.sh)
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
run=${1:-models/english} data=data/english results=runs/english_results

score() { # NAME GRAMMAR MANIFEST...
  local name=$1 grammar=$2
  shift 2
  python -m asr.evaluate "$run" "$@" --commands "$grammar" --audio none --output-dir "$results/$name"
}

negatives=(data/barista/negatives/{librispeech_other100,wake_words,_unknown_,esc10,silence}.jsonl)
python -m asr.commands calibrate "$run" conf/commands/home.yaml --sizes 10,1000,all --false-accepts-per-hour 0.5 \
  --negatives "${negatives[@]}" data/barista/clean.jsonl --positives $data/home_flite/test.jsonl $data/home_pico/test.jsonl

score home conf/commands/home.yaml $data/home_kokoro/test.jsonl
score home_joe conf/commands/home.yaml $data/home_joe/test.jsonl
score digits conf/commands/digits.yaml data/fsdd/test.jsonl
score wake_words recipes/english/wake_words.yaml $data/wake_words/dev.jsonl
score coffee conf/commands/barista.yaml data/barista/clean.jsonl data/barista/noise_*db.jsonl
python -m asr.evaluate "$run" "${negatives[@]}" --commands conf/commands/home.yaml --audio none --output-dir $results/negatives
