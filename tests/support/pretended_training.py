"""A program that does as asr.train does, as far as a study can see, without learning anything: seconds become none.

Its dev WER is smallest at a learning rate of 0.01 and falls with the epochs. Above 0.09 it diverges; with a dropout
above 0.8 something kills it; PRETENDED_SECONDS of the environment is how long an epoch takes.
"""

import json
import math
import os
import signal
import sys
import time
from pathlib import Path

import yaml


def main(config_path: str) -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    config = yaml.safe_load(Path(config_path).read_text())
    run = Path(config["run_dir"])
    run.mkdir(parents=True, exist_ok=True)
    with (run / "starts.txt").open("a") as starts:
        starts.write(".")
    rate, width = config["optim"]["learning_rate"], config["encoder"]["cell"]["hidden_size"]
    if rate > 0.09:
        print("error: step 4: the loss or its gradient is not finite")
        raise SystemExit(2)
    if config["encoder"]["dropout"] > 0.8:
        os.kill(os.getpid(), signal.SIGKILL)
    path = run / "metrics.jsonl"
    done = len(path.read_text().splitlines()) if path.exists() else 0
    for epoch in range(done + 1, config["train"]["max_epochs"] + 1):
        time.sleep(float(os.environ.get("PRETENDED_SECONDS", "0")))
        wer = abs(math.log10(rate) + 2) + 0.3 / epoch + 0.001 * config["seed"]
        line = {"step": epoch, "train/epoch": epoch, "dev/wer": wer, "dev/cer": wer / 2, "dev/loss": 9.0}
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")
    header = json.dumps({"w": {"dtype": "F32", "shape": [width, 1], "data_offsets": [0, 4 * width]}}).encode()
    (run / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4 * width))
    loss = None if config["encoder"]["dropout"] == 0.0 else 9.0
    (run / "run.json").write_text(json.dumps({"dev": {"wer": wer, "cer": wer / 2, "loss": loss}}))


main(sys.argv[1])
