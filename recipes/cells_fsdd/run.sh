#!/usr/bin/env bash
# The figures of recipes/cells_fsdd/README.md:  bash recipes/cells_fsdd/run.sh CORPUS_DIR [key=value ...]
# Further arguments change conf/compare.yaml, such as seeds=[0,1]. Run again, it goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/../.."
corpus=${1:?usage: run.sh CORPUS_DIR (a clone of the Free Spoken Digit Dataset) [key=value ...]}
shift
export OMP_NUM_THREADS=1

echo "1/3  all speakers but lucas, who is the test"
python -m data_prep.fsdd "$corpus" data/fsdd_without_lucas --leave-out lucas

echo "2/3  every cell in one and two directions, with nearly the same number of parameters: some 25 minutes a seed"
python -m asr.compare conf/compare.yaml "$@"

echo "3/3  how long each cell remembers: some 40 minutes (a look in one: --quick)"
python -m asr.compare conf/compare.yaml --probe long_lag
