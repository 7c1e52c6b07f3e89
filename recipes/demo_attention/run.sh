#!/usr/bin/env bash
# The figures of recipes/demo_attention/README.md:  bash recipes/demo_attention/run.sh   (nothing is downloaded)
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
data=data/demo

echo "synthesizing the commands of conf/commands/demo.yaml, by about a hundred voices"
python -m data_prep.synthesize conf/commands/demo.yaml $data --num-train 2000 --num-dev 120 --num-test 160

echo "CTC alone, attention alone, both, and a pyramid under attention; a language model of the same texts"
for name in bilstm_ctc bilstm_attention bilstm_ctc_attention las_pyramid; do
  python -m asr.train conf/$name.yaml
done
python -m asr.train conf/lm_ngram.yaml run_dir=runs/lm_demo tokenizer.run=runs/bilstm_ctc \
  "data.train=[{manifest: $data/train.jsonl}]" "data.dev={manifest: $data/dev.jsonl}"
score() { bash recipes/every_decoding.sh "runs/$1" $data/dev.jsonl $data/test.jsonl runs/lm_demo "$2"; }
score bilstm_ctc ctc_beam
score bilstm_attention attention_beam
score las_pyramid attention_beam
score bilstm_ctc_attention "ctc_beam attention_beam joint_beam"
