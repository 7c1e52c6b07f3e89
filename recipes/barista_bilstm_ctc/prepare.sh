#!/usr/bin/env bash
# Everything that recipes/barista_bilstm_ctc trains and tests on:  bash recipes/barista_bilstm_ctc/prepare.sh CORPORA_DIR
set -euo pipefail
cd "$(dirname "$0")/../.."
corpora=$(realpath "${1:?usage: prepare.sh CORPORA_DIR (its folders are named in recipes/barista_bilstm_ctc/README.md)}")
export OMP_NUM_THREADS=1
data=data/barista

echo "1/3  what the English model was trained on: people, noises and rooms"
bash recipes/english/prepare.sh "$corpora"

echo "2/3  the sentences of the grammar, by hibari and Kokoro"
python -m data_prep.synthesize conf/commands/barista.yaml $data/orders_hibari --engines hibari --num-train 2500 \
  --num-dev 0 --num-test 0 --min-count 3 --format flac --seed 21 --slowest 130 --fastest 230
cat data/english/neural/{orders,held_out_orders}.jsonl > $data/orders_neural.jsonl

echo "3/3  the orders to test on"
bash recipes/barista_bilstm_ctc/prepare_tests.sh "$corpora"
