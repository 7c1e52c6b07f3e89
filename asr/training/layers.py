"""Says what runs a configuration's recurrent layers on this machine, in training and in recognition; reads no data."""

import torch

from asr.config.language_model import LanguageModelConfig
from asr.config.recognizer import Config
from asr.model.layers.chosen import tabulate
from asr.process.distributed import Processes
from asr.recognition.precision import autocast, settle_precision
from asr.text import NUM_SPECIAL


def explain_layers(config: Config | LanguageModelConfig, processes: Processes) -> list[str]:
    """Returns a table of the layers: what runs each over many frames, in which precision, and why."""
    config, precision_line = settle_precision(config, processes)
    is_recognizer = isinstance(config, Config)
    model = config.build_model(NUM_SPECIAL + 1) if is_recognizer else config.model.build(NUM_SPECIAL + 1)
    model = model.to(processes.device)
    lines = [precision_line, "in training, over many frames:"]
    with autocast(config.train.precision, processes.device):
        lines += tabulate(model.train())
    lines.append("in recognition, in fp32:" if is_recognizer else "in scoring, in fp32:")
    with torch.no_grad():
        lines += tabulate(model.eval())
    return lines
