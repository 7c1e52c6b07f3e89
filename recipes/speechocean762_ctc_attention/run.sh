#!/usr/bin/env bash
# The figures of recipes/speechocean762_ctc_attention/README.md:
#   bash recipes/speechocean762_ctc_attention/run.sh CORPUS_DIR NOISE_DIR ESC10_DIR
set -euo pipefail
cd "$(dirname "$0")/../.."
usage="usage: run.sh CORPUS_DIR (speechocean762) NOISE_DIR (Speech Commands' _background_noise_) ESC10_DIR"
corpus=${1:?$usage} noise=${2:?$usage} esc10=${3:?$usage}
export OMP_NUM_THREADS=1
data=data/speechocean762 conf=conf/speechocean762_ctc_attention.yaml run=runs/speechocean762_ctc_attention
ctc=runs/speechocean762_ctc

echo "speech at expert accuracy >= 6, tested at >= 7; noises to learn from; noises and silence to be tested on"
python -m data_prep.speechocean762 "$corpus" $data --min-accuracy 6 --min-test-accuracy 7
python -m data_prep.negatives $data/noises "$noise" "$esc10" --silence-minutes 2 --noise-minutes 4 --cut-seconds 4
python -m data_prep.negatives $data/no_speech "$esc10" --silence-minutes 10 --noise-minutes 10 --seed 1
# What one microphone recorded is in one fold of ESC-10, the first figure of a clip's name. The third fold is only tested on.
grep -v '/3-[^/]*"' $data/noises/all.jsonl > $data/noises/train.jsonl
grep '/3-[^/]*"' "$data/no_speech/$(basename "$esc10").jsonl" > $data/no_speech/esc10_fold_3.jsonl

echo "CTC alone; then both heads from its encoder; language models on the transcripts of its training"
python -m asr.train conf/speechocean762_bilstm_ctc.yaml run_dir=$ctc data.batch_seconds=30 'augment=[
  {kind: speed, factors: [0.9, 0.95, 1.0, 1.05, 1.1]},
  {kind: vocal_tract, probability: 0.5},
  {kind: spec_augment, num_time_masks: 2, max_time_frames: 20, num_frequency_masks: 2, max_frequency_bins: 15}]' \
  optim.learning_rate=0.0015 encoder.dropout=0.2 train.max_epochs=30 train.average_best=5 train.evaluate_every_epochs=2
python -m asr.train $conf
for lm in lm_ngram lm_lstm; do
  python -m asr.train conf/$lm.yaml tokenizer.run=$run
done
bash recipes/every_decoding.sh $ctc $data/dev.jsonl $data/test.jsonl runs/lm_ngram ctc_beam
bash recipes/every_decoding.sh $run $data/dev.jsonl $data/test.jsonl runs/lm_ngram "ctc_beam attention_beam joint_beam" \
  $data/no_speech/{esc10_fold_3,noise,silence}.jsonl

echo "what one utterance looks like inside"
python -m asr.explain $run "$(python -c "import json; print(json.loads(open('$data/dev.jsonl').readline())['audio_filepath'])")"
