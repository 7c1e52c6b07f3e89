#!/usr/bin/env bash
# What conf/english_base.yaml trains on beside what prepare.sh makes: coffee orders by four classical synthesizers.
#   bash recipes/english/prepare_base.sh      (after prepare.sh)
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
python -m data_prep.synthesize conf/commands/barista.yaml data/barista/synthesized \
  --engines espeak=3,flite=2,festival=1,pico=2 --num-train 8500 --num-dev 200 --num-test 200 --min-count 3
