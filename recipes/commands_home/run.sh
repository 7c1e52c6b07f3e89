#!/usr/bin/env bash
# Commands for a home from their sentences alone, scored on voices never heard:
#   bash recipes/commands_home/run.sh [CORPORA_DIR]     (with CORPORA_DIR also on recordings of people)
# Run again, it goes on where it was. flite and Festival are for the second test only (apt-get install flite festival
# festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts).
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
grammar=conf/commands/home.yaml data=data/home run=runs/commands_home

echo "1/5  what to know of the grammar"
python -m asr.commands check $grammar

echo "2/5  its sentences, and others that are none, spoken by eSpeak NG"
python -m data_prep.synthesize $grammar $data --other-speech conf/commands/everyday.yaml

echo "3/5  training"
python -m asr.train conf/commands_home.yaml

echo "4/5  what counts as understood"
python -m asr.commands calibrate $run $grammar --negatives $data/other_speech/dev.jsonl --positives $data/dev.jsonl \
  --false-accepts-per-hour 0.5 --report $run/calibration.html

echo "5/5  on eSpeak's voices and other speech that were never heard"
python -m asr.evaluate $run $data/test.jsonl $data/other_speech/test.jsonl --commands $grammar --audio none

if command -v flite festival >/dev/null; then
  echo "the same by seven voices of two other synthesizers"
  python -m data_prep.synthesize $grammar ${data}_other_engines --engines flite,festival --num-train 800 --min-count 0 \
    --num-dev 0 --num-test 0
  python -m asr.evaluate $run ${data}_other_engines/train.jsonl --commands $grammar --audio none
fi

if [ -n "${1:-}" ]; then
  echo "people: 'stop' among other words, and speech that is no command"
  python -m data_prep.speech_commands "$1/speech_commands" data/speech_commands
  python -m data_prep.negatives data/negatives "$1/librispeech_other100" "$1/wake_words" "$1/noise/esc10" \
    --silence-minutes 10
  people=$(printf 'data/negatives/%s.jsonl ' librispeech_other100 wake_words esc10 silence)
  python -m asr.evaluate $run data/speech_commands/test.jsonl --commands $grammar --audio none
  # shellcheck disable=SC2086
  python -m asr.evaluate $run $people --commands $grammar --audio none
  echo "with what people say among the negatives"
  # shellcheck disable=SC2086
  python -m asr.commands calibrate $run $grammar --negatives $data/other_speech/dev.jsonl $people \
    --positives $data/dev.jsonl --false-accepts-per-hour 0.5 --report $run/calibration_people.html
  engines=${data}_other_engines/train.jsonl
  [ -e "$engines" ] || engines=
  # shellcheck disable=SC2086
  python -m asr.evaluate $run $data/test.jsonl $engines $data/other_speech/test.jsonl data/speech_commands/test.jsonl \
    --commands $grammar --audio none --output-dir $run/evaluations/people
fi
