#!/usr/bin/env bash
# The figures of recipes/cells_speechocean762/README.md:  bash recipes/cells_speechocean762/run.sh CORPUS_DIR [key=value ...]
# Further arguments change conf/compare_speechocean762.yaml, such as seeds=[0,1]. Run again, it goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/../.."
corpus=${1:?usage: run.sh CORPUS_DIR (speechocean762, as from https://www.openslr.org/101) [key=value ...]}
shift
export OMP_NUM_THREADS=1

echo "1/2  manifests"
python -m data_prep.speechocean762 "$corpus" data/speechocean762

echo "2/2  every cell in one and two directions, with nearly the same number of parameters: some 80 minutes a seed"
python -m asr.compare conf/compare_speechocean762.yaml "$@"
