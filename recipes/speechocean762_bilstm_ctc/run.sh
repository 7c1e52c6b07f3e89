#!/usr/bin/env bash
# The figures of recipes/speechocean762_bilstm_ctc/README.md:  bash recipes/speechocean762_bilstm_ctc/run.sh CORPUS_DIR
set -euo pipefail
cd "$(dirname "$0")/../.."
corpus=${1:?usage: run.sh CORPUS_DIR (an unpacked speechocean762)}
export OMP_NUM_THREADS=1
data=data/speechocean762 conf=conf/speechocean762_bilstm_ctc.yaml

echo "train at expert accuracy >= 6, test at >= 7"
python -m data_prep.speechocean762 "$corpus" $data --min-accuracy 6 --min-test-accuracy 7
python -m asr.train $conf train.max_steps=2700
python -m asr.evaluate runs/speechocean762_bilstm_ctc $data/test.jsonl

echo "annealed: eight more epochs from those weights, more dropout, a learning rate that falls to nothing"
python -m asr.train $conf run_dir=runs/speechocean762_annealed init_from=runs/speechocean762_bilstm_ctc \
  encoder.dropout=0.4 optim.learning_rate=8e-4 optim.schedule.warmup_steps=50 train.max_epochs=8
python -m asr.evaluate runs/speechocean762_annealed $data/test.jsonl

echo "characters against pieces, in a smaller model"
small="encoder.cell.hidden_size=160 encoder.num_layers=2 train.max_epochs=30"
python -m asr.train $conf run_dir=runs/speechocean762_small_char $small
python -m asr.train $conf run_dir=runs/speechocean762_small_unigram $small \
  'tokenizer={kind: sentencepiece, model_type: unigram, vocabulary_size: 150}'
for run in runs/speechocean762_small_char runs/speechocean762_small_unigram; do
  python -m asr.evaluate $run $data/test.jsonl
done
