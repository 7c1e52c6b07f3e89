#!/usr/bin/env bash
# The figures of recipes/cells_speechocean762/README.md:  bash recipes/cells_speechocean762/run.sh CORPUS_DIR [key=value ...]
# Further arguments change conf/compare_speechocean762.yaml, such as seeds=[0,1]. Run again, it goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/../.."
corpus=${1:?usage: run.sh CORPUS_DIR (speechocean762, as from https://www.openslr.org/101) [key=value ...]}
shift
export OMP_NUM_THREADS=1

data=data/speechocean762

echo "1/2  manifests, and their log-mels, which every training reads"
python -m data_prep.speechocean762 "$corpus" $data --min-accuracy 6 --min-test-accuracy 7
for split in train dev; do
  python -m data_prep.extract $data/$split.jsonl $data/log_mels/$split
done

echo "2/2  every cell in one and two directions, with nearly the same number of parameters: some 75 minutes a seed"
python -m asr.compare conf/compare_speechocean762.yaml "$@"
