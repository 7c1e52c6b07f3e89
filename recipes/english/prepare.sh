#!/usr/bin/env bash
# Everything that conf/english.yaml trains on:  bash recipes/english/prepare.sh CORPORA_DIR
# Run again, it goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/../.."
corpora=$(realpath "${1:?usage: prepare.sh CORPORA_DIR (its folders are named in recipes/english/README.md)}")
export OMP_NUM_THREADS=1
data=data/english

echo "1/5  people"
python -m data_prep.speechocean762 "$corpora/speechocean762" $data/speechocean762 --min-accuracy 5 --min-test-accuracy 5
python -m data_prep.nemo "$corpora/more_english" $data/more_english --split-by text --dev-share 0.03 --test-share 0
python -m data_prep.speech_commands "$corpora/speech_commands" $data/speech_commands --dev-share 0.03 --test-share 0
python -m data_prep.folder "$corpora/wake_words" $data/wake_words --transcripts folder --split-by id \
  --dev-share 0.03 --test-share 0
python -m data_prep.fsdd "$corpora/fsdd" data/fsdd

echo "2/5  noises and rooms"
ln -sfn "$corpora/noise" $data/noise
ln -sfn "$corpora/rir" $data/rir
python -m data_prep.negatives $data/noises "$corpora/noise/esc10" "$corpora/noise/speech_commands_background" \
  --silence-minutes 6 --noise-minutes 6 --household-minutes 24 --cut-seconds 4

echo "3/5  what people say to assistants, and numbers, by synthesizers"
python recipes/english/numbers_and_times.py $data/numbers_and_times.txt
sort -u "$corpora/text/slurp_sentences.txt" $data/numbers_and_times.txt > $data/sentences.txt
python -m data_prep.synthesize $data/sentences.txt $data/hibari --engines hibari --num-train 9000 --num-dev 0 \
  --num-test 0 --min-count 0 --format flac --seed 11 --slowest 130 --fastest 230
python recipes/english/random_words.py $data/random_words.txt
python -m data_prep.synthesize $data/random_words.txt $data/words --engines hibari --num-train 4990 --num-dev 0 \
  --num-test 0 --min-count 0 --format flac --seed 31 --slowest 120 --fastest 220
python -m data_prep.synthesize $data/sentences.txt $data/classical --engines festival=1,flite=2,espeak=2 \
  --num-train 6000 --num-dev 0 --num-test 0 --min-count 0 --format flac --seed 7

echo "4/5  the same by Kokoro, whose voices of the tests are not among those of the training"
python recipes/english/neural_voices.py "$corpora/neural_voices" $data/neural

kokoro_tests=kokoro/am_michael,kokoro/bf_emma,kokoro/af_bella,kokoro/bm_george,kokoro/am_puck,kokoro/af_nova
python -m data_prep.synthesize $data/sentences.txt $data/kokoro --language en-us --engines kokoro --num-train 482 \
  --num-dev 0 --num-test 0 --min-count 0 --slowest 130 --test-voices $kokoro_tests

cat $data/{more_english,speechocean762,wake_words,speech_commands}/dev.jsonl $data/neural/dev.jsonl > $data/dev.jsonl

echo "5/5  commands for a home by voices that are not trained with (docs/voices.md: EARSHOT_KOKORO)"
home() { # NAME ENGINES VOICES [OPTION]...
  python -m data_prep.synthesize conf/commands/home.yaml "$data/home_$1" --engines "$2" --test-voices "$3" --num-train 0 \
    --num-dev 0 --num-test 120 --slowest 130 "${@:4}"
}
home kokoro kokoro $kokoro_tests
home joe piper piper/en_US-joe-medium --seed 2
home pico pico pico/en-GB,pico/en-US --seed 1
home flite flite,festival flite/awb,flite/kal16,flite/rms,flite/slt,festival/kal_diphone,festival/ked_diphone,festival/cmu_us_slt_arctic_hts
