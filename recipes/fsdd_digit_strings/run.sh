#!/usr/bin/env bash
# The figures of recipes/fsdd_digit_strings/README.md:  bash recipes/fsdd_digit_strings/run.sh CORPUS_DIR
set -euo pipefail
cd "$(dirname "$0")/../.."
corpus=${1:?usage: run.sh CORPUS_DIR (a clone of the Free Spoken Digit Dataset)}
export OMP_NUM_THREADS=1
data=data/fsdd_strings run=runs/fsdd_digit_strings

echo "strings of two to seven digits of one speaker; those of test are made of the official test recordings"
python -m data_prep.fsdd "$corpus" data/fsdd
python -m data_prep.digit_strings data/fsdd $data --num-train 2000 --num-dev 100 --num-test 300

echo "single digits first, by CTC"
python -m asr.train conf/fsdd_bilstm_ctc.yaml run_dir=runs/fsdd_digits train.max_epochs=15
python -m asr.train conf/fsdd_digit_strings.yaml
python -m asr.train conf/lm_ngram.yaml run_dir=runs/lm_digits tokenizer.run=$run \
  "data.train=[{manifest: $data/train.jsonl}]" "data.dev={manifest: $data/dev.jsonl}"
bash recipes/every_decoding.sh $run $data/dev.jsonl $data/test.jsonl runs/lm_digits "ctc_beam attention_beam joint_beam"
