#!/usr/bin/env bash
# Score a run with every decoding that its heads allow, without and with a language model:
#   bash recipes/every_decoding.sh RUN DEV_MANIFEST TEST_MANIFEST LANGUAGE_MODEL "DECODING ..." [MANIFEST WITHOUT SPEECH ...]
# Fusion is tuned on dev. Each result is RUN/evaluations/SPLIT-DECODING/results.json; the table of them is printed at the end.
set -euo pipefail
run=$1 dev=$2 test=$3 language_model=$4 kinds=$5
shift 5
export OMP_NUM_THREADS=1

evaluate() { # NAME MANIFEST OPTION ...: once; a result that is there is kept
  local folder=$run/evaluations/$1
  [ -f "$folder/results.json" ] || python -m asr.evaluate "$run" "$2" --output-dir "$folder" --audio none "${@:3}"
}

for kind in $kinds; do
  beam="{kind: $kind, beam: 8}" greedy="{kind: $kind, beam: 1}"
  [ "$kind" = ctc_beam ] && beam="{kind: ctc_beam, beam: 16}" greedy=ctc_greedy
  for split in dev test; do
    evaluate "$split-${kind%_beam}-greedy" "${!split}" --decoding "$greedy"
    evaluate "$split-${kind%_beam}-beam" "${!split}" --decoding "$beam"
  done
  if [ "$language_model" != none ]; then
    evaluate "dev-${kind%_beam}-beam-lm" "$dev" --decoding "$beam" --language-model "$language_model" --tune-fusion
    evaluate "test-${kind%_beam}-beam-lm" "$test" --decoding "$run/decodings/$kind-$(basename "$language_model").yaml"
  fi
  for noise in "$@"; do
    evaluate "$(basename "$noise" .jsonl)-${kind%_beam}-beam" "$noise" --decoding "$beam"
  done
done
python -m tests.bench.decoding_table "$run"
