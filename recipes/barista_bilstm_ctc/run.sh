#!/usr/bin/env bash
# The first table of recipes/barista_bilstm_ctc/README.md, no recording of an order in training:
#   bash recipes/barista_bilstm_ctc/run.sh CORPORA_DIR
# Run again, it goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/../.."
corpora=${1:?usage: run.sh CORPORA_DIR (its folders are named in recipes/barista_bilstm_ctc/README.md)}
export OMP_NUM_THREADS=1
grammar=conf/commands/barista.yaml run=runs/barista_bilstm_ctc data=data/barista

echo "1/3  data"
bash recipes/barista_bilstm_ctc/prepare.sh "$corpora"

echo "2/3  tuning models/english to the sentences of the grammar"
python -m asr.train conf/barista_bilstm_ctc.yaml
python -m asr.commands priors $run data/english/more_english/dev.jsonl --weight 1.0
python -m asr.commands calibrate $run $grammar --positives $data/clean.jsonl \
  --negatives $data/negatives/{librispeech_other100,wake_words,_unknown_,esc10,silence}.jsonl \
  --false-accepts-per-hour 0.5 --report runs/barista_calibration.html

echo "3/3  the orders, clean and in the kitchen's noise"
python -m asr.evaluate $run $data/clean.jsonl $data/noise_*db.jsonl --commands $grammar --audio none

echo "pocketsphinx on the same files (pip install pocketsphinx==5.1.1): hours on one core"
if python -c "import pocketsphinx" 2>/dev/null; then
  python -m tests.bench.pocketsphinx_commands $grammar $data/clean.jsonl $data/noise_*db.jsonl --first-pass \
    --output-dir runs/pocketsphinx_first_pass
fi
