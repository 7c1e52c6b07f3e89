#!/usr/bin/env bash
# The orders to test on, clean and in the kitchen's noise, and what holds no order:
#   bash recipes/barista_bilstm_ctc/prepare_tests.sh CORPORA_DIR
set -euo pipefail
cd "$(dirname "$0")/../.."
corpora=$(realpath "${1:?usage: prepare_tests.sh CORPORA_DIR (its folders are named in recipes/barista_bilstm_ctc/README.md)}")
export OMP_NUM_THREADS=1
data=data/barista
python -m data_prep.barista "$corpora/barista" $data --noise "$corpora/barista/noise/kitchen_dev.flac" \
  --folds 5 --sizes 30 100
python -m data_prep.negatives $data/negatives "$corpora/librispeech_other100" "$corpora/wake_words" \
  "$corpora/speech_commands/_unknown_" "$corpora/noise/esc10" --silence-minutes 10
