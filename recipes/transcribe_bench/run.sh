#!/usr/bin/env bash
# The figures of recipes/transcribe_bench/README.md:  bash recipes/transcribe_bench/run.sh
# After recipes/barista_bilstm_ctc/prepare.sh, and for the parts with word error rates after its finetune.sh.
# Needs pip install -e '.[vad]' pocketsphinx==5.1.1. About half an hour on one core, half of it the hundred thousand recordings.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
model=recipes/barista_bilstm_ctc/model data=data/barista out=runs/transcribe_bench

echo "1/5  speed, beside pocketsphinx and the bare model"
python -m tests.bench.transcribe $model $data/clean.jsonl --commands conf/commands/barista.yaml --pocketsphinx 12 --rounds 1
python -m tests.bench.transcribe $model $data/clean.jsonl --parts --rounds 1

echo "2/5  word error rates in fewer bits, and of one long recording, by a model that never heard these speakers"
mkdir -p $out
grep -o '"id": "[^"]*"' $data/transcripts/barista_fold_1_train.jsonl |
  grep -v -F -f - $data/transcripts/barista_finetuned.jsonl > $out/unheard.jsonl
python -m tests.bench.transcribe runs/barista_fold_1_train $out/unheard.jsonl --rounds 1 --starts 1
python -m tests.bench.long_recordings runs/barista_fold_1_train $out/unheard.jsonl \
  --ways "energy,silero,windows of 30 s,windows of 10 s"

echo "3/5  memory over a hundred thousand recordings"
python -m tests.bench.transcribe_memory --recordings 100000

echo "4/5  log-mels"
python -m tests.bench.features

echo "5/5  a hundred thousand damaged recordings"
python -m tests.programs.fuzz_audio --inputs 100000 --keep $out/crashed
