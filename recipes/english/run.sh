#!/usr/bin/env bash
# The model of models/english and the figures of its page:
#   bash recipes/english/run.sh CORPORA_DIR
# Run again, it goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/../.."
corpora=${1:?usage: run.sh CORPORA_DIR (its folders are named in recipes/english/README.md)}
export OMP_NUM_THREADS=1

echo "1/4  data"
bash recipes/english/prepare.sh "$corpora"
bash recipes/english/prepare_base.sh
bash recipes/barista_bilstm_ctc/prepare_tests.sh "$corpora"

echo "2/4  the base, and once more from where it ended, with the learning rate of the beginning"
python -m asr.train conf/english_base.yaml run_dir=runs/english_base_first
python -m asr.train conf/english_base.yaml run_dir=runs/english_base init_from=runs/english_base_first

echo "3/4  two rounds; the second, with every frequent word, is shipped"
python -m asr.train conf/english_first.yaml
python -m asr.train conf/english.yaml
python -m asr.export runs/english runs/english_packed
python -m asr.commands priors runs/english_packed data/english/more_english/dev.jsonl --weight 1.0

echo "4/4  the figures"
bash recipes/english/measure.sh runs/english_packed
