#!/usr/bin/env bash
# The figures of recipes/fsdd_bilstm_ctc/README.md:  bash recipes/fsdd_bilstm_ctc/run.sh CORPUS_DIR
set -euo pipefail
cd "$(dirname "$0")/../.."
corpus=${1:?usage: run.sh CORPUS_DIR (a clone of the Free Spoken Digit Dataset)}
export OMP_NUM_THREADS=1

echo "the official split: test is index 0 to 4 of every speaker and digit"
python -m data_prep.fsdd "$corpus" data/fsdd
python -m asr.train conf/fsdd_bilstm_ctc.yaml
python -m asr.evaluate runs/fsdd_bilstm_ctc data/fsdd/test.jsonl

for speaker in george jackson lucas nicolas theo yweweler; do
  echo "all but $speaker, who is the test"
  data=data/fsdd_without_$speaker run=runs/fsdd_without_$speaker
  python -m data_prep.fsdd "$corpus" "$data" --leave-out "$speaker"
  python -m asr.train conf/fsdd_bilstm_ctc.yaml "run_dir=$run" \
    "data.train.0.manifest=$data/train.jsonl" "data.dev.manifest=$data/dev.jsonl"
  python -m asr.evaluate "$run" "$data/test.jsonl"
done
