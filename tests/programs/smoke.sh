#!/usr/bin/env bash
# Whether an installed package works, away from its source: bash tests/programs/smoke.sh BIN, the folder of `earshot`.
# It needs the extras synth and commands. A quarter of a minute.
set -euo pipefail
bin=$(cd "$1" && pwd)
examples=recipes/barista_bilstm_ctc
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
export OMP_NUM_THREADS=1

"$bin/earshot" --help
"$bin/earshot" transcribe $examples/model_finetuned $examples/examples --commands conf/commands/barista.yaml \
    --output orders.jsonl
"$bin/python" - <<'PYTHON'
import json

intents = [json.loads(line)["command"]["intent"] for line in open("orders.jsonl")]
assert sorted(map(str, intents)) == ["None"] + 5 * ["orderDrink"], intents
PYTHON
"$bin/earshot" prepare synthesize conf/commands/demo.yaml data/demo --num-train 100 --num-dev 8 --num-test 0 \
    --min-count 0 --num-workers 1
"$bin/earshot" train conf/bilstm_ctc.yaml train.max_steps=2 data.num_workers=0
"$bin/earshot" transcribe runs/bilstm_ctc data/demo/wav/dev --output transcripts.jsonl
test "$(wc -l < transcripts.jsonl)" = 8
echo "smoke test: passed"
