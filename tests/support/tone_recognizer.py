"""A recogniser of tones.py's corpus that hears every word, learnt in seconds: from where each letter is, not by CTC."""

import numpy as np
import torch
from torch.nn import functional

from asr.data.features import FeatureConfig, LogMel, normalize
from asr.data.statistics import FeatureStatistics
from asr.decoding.ctc_greedy import CTCGreedyConfig
from asr.model.acoustic import Model
from asr.model.cells.lstm import LSTMConfig
from asr.model.encoders.recurrent import RecurrentEncoderConfig
from asr.model.heads.ctc import CTCHeadConfig
from asr.model.layers.subsampling import ConvSubsamplingConfig
from asr.recognizer import Recognizer
from asr.text import BLANK_ID, CharTokenizer, CharTokenizerConfig
from tests.support.tones import LETTER_SECONDS, SAMPLE_RATE, WORDS, speak

FACTOR = 2  # log-mel frames to an encoding
NUM_UTTERANCES, NUM_WORDS, NUM_STEPS = 8, 6, 60
LONGEST_PAUSE = 10  # letters of silence around words


def train_tone_recognizer() -> Recognizer:
    """One bidirectional layer; its features are normalised the same everywhere, so that silence changes nothing."""
    features = FeatureConfig(sample_rate=SAMPLE_RATE, num_mels=20, normalization="global", log_floor=1e-6)
    statistics = FeatureStatistics(torch.full((20,), -9.0), torch.full((20,), 4.0))
    tokenizer = CharTokenizerConfig().train([" ".join(WORDS)])
    encoder = RecurrentEncoderConfig(
        subsampling=ConvSubsamplingConfig(factor=FACTOR, num_channels=4, output_size=24),
        cell=LSTMConfig(hidden_size=24),
        num_layers=1,
        dropout=0.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = Model(num_mels=20, encoder=encoder, heads=(CTCHeadConfig(),), vocabulary_size=tokenizer.vocabulary_size)
    inputs, lengths, labels = training_batch(features, tokenizer, np.random.default_rng(1))
    inputs = normalize(inputs.flatten(0, 1), config=features, statistics=statistics).view_as(inputs)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, total_iters=NUM_STEPS)
    for _ in range(NUM_STEPS):
        optimizer.zero_grad()
        encodings, _ = model.encode(inputs, lengths)
        functional.nll_loss(model.heads[0](encodings).flatten(0, 1), labels.flatten(), ignore_index=-1).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return Recognizer(
        model=model.eval(),
        tokenizer=tokenizer,
        feature_config=features,
        decoding=CTCGreedyConfig().build(),
        statistics=statistics,
    )


def training_batch(
    features: FeatureConfig, tokenizer: CharTokenizer, generator: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Log-mels [utterance, frame, mel], their numbers of frames, and the label of each encoding, -1 for padding."""
    log_mel = LogMel(features)
    log_mels, labels = [], []
    for _ in range(NUM_UTTERANCES):
        pauses = [" " * min(generator.geometric(0.35), LONGEST_PAUSE) for _ in range(NUM_WORDS + 1)]
        text = "".join(pause + word for pause, word in zip(pauses, [*generator.choice(WORDS, size=NUM_WORDS), ""]))
        frames = log_mel(torch.from_numpy(speak(text, generator)))
        of_frames = torch.full(((len(frames) + 1) // FACTOR,), BLANK_ID)
        for place, letter in enumerate(f" {text} "):  # silence is a space, however long
            middle = int((place + 0.5) * LETTER_SECONDS / (FACTOR * features.hop_ms / 1000))
            of_frames[middle - 1 : middle + 2] = tokenizer.encode(letter)[0]
        log_mels.append(frames)
        labels.append(of_frames)
    lengths = torch.tensor([len(frames) for frames in log_mels])
    padded = torch.nn.utils.rnn.pad_sequence(log_mels, batch_first=True)
    return padded, lengths, torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-1)
