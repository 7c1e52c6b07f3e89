#!/usr/bin/env bash
# Every cell by its own configuration, on the official test:  bash recipes/cells_fsdd/confs.sh CORPUS_DIR
# Some three minutes each. Run again, it goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/../.."
corpus=${1:?usage: confs.sh CORPUS_DIR (a clone of the Free Spoken Digit Dataset)}
export OMP_NUM_THREADS=1
confs="rnn_ctc gru_ctc peephole_ctc coupled_ctc layer_norm_ctc projected_ctc light_gru_ctc janet_ctc"
confs+=" convlstm_bilstm_ctc pyramid_ctc lstm_ctc_streaming fsdd_bilstm_ctc"

[ -e data/fsdd/train.jsonl ] || python -m data_prep.fsdd "$corpus" data/fsdd
for conf in $confs; do
  python -m asr.train conf/"$conf".yaml
  [ -e "runs/$conf/evaluations/fsdd-test/results.json" ] || python -m asr.evaluate "runs/$conf" data/fsdd/test.jsonl --audio none
done
# shellcheck disable=SC2086
python -m tests.bench.runs_table $(printf 'runs/%s/evaluations/fsdd-test ' $confs)
