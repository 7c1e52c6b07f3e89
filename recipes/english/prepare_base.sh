#!/usr/bin/env bash
# Everything that conf/english_base.yaml trains on:  bash recipes/english/prepare_base.sh CORPORA_DIR
set -euo pipefail
cd "$(dirname "$0")/../.."
corpora=$(realpath "${1:?usage: prepare_base.sh CORPORA_DIR (its folders are named in recipes/english/README.md)}")
export OMP_NUM_THREADS=1
data=data/barista

echo "1/3  real speech to train on, none of it a coffee order"
python -m data_prep.speechocean762 "$corpora/speechocean762" $data/speechocean762 --min-accuracy 5 --min-test-accuracy 5
python -m data_prep.nemo "$corpora/more_english" $data/more_english --split-by text --dev-share 0.03 --test-share 0
python -m data_prep.speech_commands "$corpora/speech_commands" $data/speech_commands --dev-share 0.03 --test-share 0
python -m data_prep.folder "$corpora/wake_words" $data/wake_words --transcripts folder --split-by id \
  --dev-share 0.03 --test-share 0
python -m data_prep.fsdd "$corpora/fsdd" data/fsdd

echo "2/3  noise and rooms to train with; the kitchen's noise is not among them"
ln -sfn "$corpora/noise" $data/noise
ln -sfn "$corpora/rir" $data/rir

echo "3/3  the sentences of the grammar, spoken by eSpeak NG, flite, Festival and Pico"
python -m data_prep.synthesize conf/commands/barista.yaml $data/synthesized --engines espeak=3,flite=2,festival=1,pico=2 \
  --num-train 8500 --num-dev 200 --num-test 200 --min-count 3
