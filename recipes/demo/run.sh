#!/usr/bin/env bash
# What `make demo` runs: commands made by a synthesizer -> a trained recogniser -> a folder transcribed -> its word
# error rate. Nothing is downloaded; under 10 minutes on two CPU cores. Run again, it goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1

echo "1/4  synthesizing the commands of conf/commands/demo.yaml, by about a hundred voices"
python -m data_prep.synthesize conf/commands/demo.yaml data/demo --num-train 2000 --num-dev 120 --num-test 160

echo "2/4  training conf/bilstm_ctc.yaml"
# Where there are two cores and no GPU, two processes share each batch: the same steps in less time. They talk over the
# loopback alone. If they cannot, one process goes on where they stopped.
trap 'exit 130' INT
in_two() { GLOO_SOCKET_IFNAME=lo torchrun --standalone --nproc-per-node 2 -m asr.train conf/bilstm_ctc.yaml; }
if command -v nvidia-smi >/dev/null || [ "$(nproc)" -lt 2 ] || ! in_two; then
    python -m asr.train conf/bilstm_ctc.yaml
fi
trap - INT

echo "3/4  transcribing a folder of recordings by eight voices that were never trained on"
python -m asr.transcribe runs/bilstm_ctc data/demo/wav/test --format txt --output runs/bilstm_ctc/transcripts.txt --overwrite
echo "the first of them:"
head -n 12 runs/bilstm_ctc/transcripts.txt

echo "4/4  scoring the same recordings against what was said"
python -m asr.evaluate runs/bilstm_ctc data/demo/test.jsonl --output-dir runs/bilstm_ctc/test
