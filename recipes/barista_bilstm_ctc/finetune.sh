#!/usr/bin/env bash
# The second table of recipes/barista_bilstm_ctc/README.md, with a user's own recordings:
#   bash recipes/barista_bilstm_ctc/finetune.sh     (after run.sh)
# Five folds by speaker, with 30, 100 and all recordings of the other speakers; then a model from all of them.
# Run again, it goes on where it was. To share the work: FOLDS="1 2" PARTS="train" bash .../finetune.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
grammar=conf/commands/barista.yaml base=${BASE:-runs/barista_bilstm_ctc} data=data/barista

transcribe() { # MANIFEST TRANSCRIPTS [OPTION]
  [ -e "$2" ] || python -m asr.commands transcripts "$base" "$1" --commands $grammar --output "$2" "${@:3}"
}

finetune() { # RUN MANIFEST: the labels become the sentences that $base hears in them, and these are trained on
  local whole speech
  whole=$data/transcripts/$(basename "$1").jsonl speech=$data/transcripts/$(basename "$1")_speech.jsonl
  transcribe "$2" "$whole"
  transcribe "$2" "$speech" --cut-to-speech
  python -m asr.train conf/barista_finetune.yaml run_dir="$1" init_from="$base" \
    data.train.0.manifest="$whole" data.train.1.manifest="$speech" data.dev.manifest="$speech"
}

for part in ${PARTS:-train train_100 train_30 all}; do
  if [ "$part" = all ]; then
    echo "a model from all recordings, for those of others"
    finetune runs/barista_finetuned $data/clean.jsonl
    continue
  fi
  for fold in ${FOLDS:-1 2 3 4 5}; do
    run=runs/barista_fold_${fold}_$part test=$data/fold_$fold/test
    finetune "$run" "$data/fold_$fold/$part/clean.jsonl"
    python -m asr.evaluate "$run" "$test"/clean.jsonl "$test"/noise_*db.jsonl --commands $grammar --audio none
  done
  echo "all folds with $part: every recording heard by a model that was not trained on its speaker"
  python -m asr.commands acceptance runs/barista_fold_*_"$part"/evaluations/test-acceptance.json
done
