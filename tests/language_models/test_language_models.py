"""Language models: trained by the same loop, asked by every search, tuned on dev, refused where they do not fit."""

import json
import math
import sys
from pathlib import Path

import pytest
import torch

from asr.config.language_model import load_experiment
from asr.config.reading import ConfigError
from asr.data.manifest import Utterance
from asr.data.manifest_writing import write_manifest
from asr.decoding.ctc_lexicon import CTCLexiconConfig, LexiconError, WordModel
from asr.decoding.scorer import Scorer
from asr.evaluate import main as evaluate
from asr.evaluation.scoring import EvaluationError
from asr.fitting.fusion import FusionTrial, FusionTuningError, search_pattern
from asr.language_models.recurrent import RecurrentLanguageModel, RecurrentLanguageModelConfig
from asr.metrics import ErrorCounts
from asr.model.cells.lstm import LSTMConfig
from asr.process.distributed import Processes
from asr.runs.folder import RunFolder
from asr.runs.language_model import LanguageModelError, load_language_model, load_word_model, read_decoding
from asr.text import BOS_ID, EOS_ID, NUM_SPECIAL, CharTokenizerConfig, load_tokenizer
from asr.train import main as train
from asr.training.experiment import DataError
from asr.training.ngrams import train_ngram
from tests.support.small_run import TEXTS, write_recordings, write_small_run

SIZE = NUM_SPECIAL + 6
RECURRENT = """
kind: language_model
data:
  train: [{{text: {folder}/train.txt}}]
  dev: {{text: {folder}/dev.txt}}
  batch_tokens: 80
tokenizer: {tokenizer}
model: {{embedding_size: 8, cell: {{kind: lstm, hidden_size: 16}}, dropout: 0.0}}
optim: {{learning_rate: 0.05, schedule: {{kind: warmup_cosine, warmup_steps: 3}}}}
train: {{max_epochs: 4, average_best: 1, precision: fp32}}
tracking: {{trackers: [jsonl]}}
"""
NGRAM = """
kind: ngram
data:
  train: [{{text: {folder}/train.txt}}]
  dev: {{text: {folder}/dev.txt}}
{unit}
order: 3
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recogniser, texts, and a language model of each kind, of tokens and of words."""
    folder = tmp_path_factory.mktemp("language")
    write_small_run(folder / "recognizer")
    (folder / "train.txt").write_text("\n".join(TEXTS * 8))
    (folder / "dev.txt").write_text("\n".join(["Turn the light on!", "", "stop"]))
    own = f"{{kind: run, run: {folder / 'recognizer'}}}"
    (folder / "lm.yaml").write_text(RECURRENT.format(folder=folder, tokenizer=own))
    (folder / "grams.yaml").write_text(NGRAM.format(folder=folder, unit=f"unit: token\ntokenizer: {own}"))
    (folder / "words.yaml").write_text(NGRAM.format(folder=folder, unit="unit: word"))
    for name in ("lm", "grams", "words"):
        assert train([str(folder / f"{name}.yaml"), f"run_dir={folder / name}"]) == 0
    return folder


def tokenizer_of(folder: Path):
    return load_tokenizer(folder / "recognizer" / "tokenizer")


@pytest.mark.parametrize("options", [{}, {"tied": True, "num_layers": 2}])
def test_a_recurrent_model_asked_token_by_token_is_its_loss(options: dict, generator: torch.Generator) -> None:
    torch.manual_seed(0)
    config = RecurrentLanguageModelConfig(embedding_size=5, cell=LSTMConfig(hidden_size=7), **options)
    model: RecurrentLanguageModel = config.build(SIZE).eval()
    assert isinstance(model, Scorer)
    lengths = torch.tensor([6, 3, 1])
    tokens = torch.randint(NUM_SPECIAL, SIZE, (3, 6), generator=generator)
    tokens[torch.arange(3), lengths - 1] = EOS_ID
    with torch.no_grad():
        (losses,) = model(tokens, lengths)
        for row in range(3):
            alone = tokens[row : row + 1, : lengths[row]]
            (loss,) = model(alone, lengths[row : row + 1])
            torch.testing.assert_close(loss[0], losses[row])
            read, state, total = BOS_ID, model.start(1, torch.device("cpu")), 0.0
            for token in alone[0].tolist():
                log_probs, state = model.step(torch.tensor([read]), state)
                assert float(log_probs.exp().sum()) == pytest.approx(1.0, abs=1e-5)
                total, read = total - float(log_probs[0, token]), token
            assert total == pytest.approx(float(loss), abs=1e-4)


def test_trainings_learn_the_text_and_say_how_well(folder: Path) -> None:
    uniform = tokenizer_of(folder).vocabulary_size - NUM_SPECIAL
    for name in ("lm", "grams", "words"):
        figures = json.loads((folder / name / "run.json").read_text())["dev"]
        assert 1 < figures["perplexity"] < uniform / 2
        assert "perplexity" in (folder / name / "README.md").read_text()
    lines = [json.loads(line) for line in (folder / "lm" / "metrics.jsonl").read_text().splitlines()]
    scored = [line for line in lines if "dev/perplexity" in line]
    assert scored[-1]["dev/perplexity"] == pytest.approx(math.exp(scored[-1]["dev/loss"]))
    assert scored[-1]["dev/perplexity"] < scored[0]["dev/perplexity"]


@pytest.mark.parametrize("name", ["lm", "grams"])
def test_a_loaded_model_gives_a_distribution_whatever_shares_its_rows(folder: Path, name: str) -> None:
    scorer = load_language_model(folder / name, tokenizer_of(folder))
    assert isinstance(scorer, Scorer)
    texts = [tokenizer_of(folder).encode(text) for text in ("turn", "stop", "play")]
    tokens = torch.tensor([[BOS_ID, *text] for text in texts])
    together = scorer.start(3, torch.device("cpu"))
    alone = [scorer.start(1, torch.device("cpu")) for _ in texts]
    for column in tokens.unbind(1):
        rows, together = scorer.step(column, together)
        for number in range(3):
            (row,), alone[number] = scorer.step(column[number : number + 1], alone[number])
            torch.testing.assert_close(row, rows[number], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(rows.exp().sum(dim=1), torch.ones(3), atol=1e-4, rtol=0)


def test_models_that_do_not_fit_are_refused_with_the_remedy(folder: Path, tmp_path: Path) -> None:
    tokenizer = tokenizer_of(folder)
    other = CharTokenizerConfig().train(["other letters"])
    with pytest.raises(LanguageModelError, match=r"another tokenizer .*train one with the recogniser's: tokenizer: "):
        load_language_model(folder / "lm", other)
    with pytest.raises(LanguageModelError, match="no such file; expected a run folder of a language model"):
        load_language_model(tmp_path / "none", tokenizer)
    with pytest.raises(LanguageModelError, match=r"no config\.yaml in it; expected the run folder of a language model"):
        load_language_model(tmp_path, tokenizer)
    with pytest.raises(LanguageModelError, match="a recogniser; expected a language model"):
        load_language_model(folder / "recognizer", tokenizer)
    with pytest.raises(LanguageModelError, match="n-grams of words; here expected a model of tokens"):
        load_language_model(folder / "words", tokenizer)
    with pytest.raises(LanguageModelError, match="no n-grams of words; expected a run of kind: ngram with unit: word"):
        load_word_model(folder / "grams")
    with pytest.raises(LanguageModelError, match=r"no ARPA file; its words are read from it: expected \.arpa"):
        load_word_model(tmp_path / "words.bin")
    with pytest.raises(LanguageModelError, match="ctc_greedy asks no language model; expected ctc_beam, say"):
        read_decoding("ctc_greedy", language_model=str(folder / "lm"))
    with pytest.raises(ConfigError, match=r"decoding\.ctc_beam\.beam|decoding\.beam: found 0"):
        read_decoding("{kind: ctc_beam, beam: 0}", language_model=str(folder / "lm"))


def test_an_unfinished_and_a_damaged_model_are_refused(folder: Path, tmp_path: Path) -> None:
    config = load_experiment(folder / "lm.yaml", [f"run_dir={tmp_path / 'begun'}"])
    run = RunFolder(tmp_path / "begun")
    run.claim(config, {}).close()
    tokenizer_of(folder).save(run.tokenizer_path)
    with pytest.raises(LanguageModelError, match="no such file; the training has not finished its first epoch yet"):
        load_language_model(run.path, tokenizer_of(folder))
    run.model_path.write_bytes(b"torn")
    with pytest.raises(LanguageModelError, match=r"its SHA-256 is .*; expected None as run\.json says; copy the whole"):
        load_language_model(run.path, tokenizer_of(folder))


def test_a_search_over_words_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config, tokenizer = CTCLexiconConfig(), CharTokenizerConfig().train(["turn on"])
    with pytest.raises(
        LexiconError, match=r"no language model; expected fusion\.language_model: RUN, n-grams of words"
    ):
        config.build(tokenizer)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "torchaudio.models.decoder", None)
        with pytest.raises(LexiconError, match="flashlight-text is needed; install it with: pip install"):
            config.build(tokenizer, WordModel(Path("words.arpa"), ["turn"]))
    pytest.importorskip("flashlight.lib.text", reason="needs flashlight-text")
    with pytest.raises(LexiconError, match=r"words\.arpa: the tokenizer spells none of its 2 words; expected a model"):
        config.build(tokenizer, WordModel(Path("words.arpa"), ["ax", "by"]))


CONFIG_FAULTS = [
    ("lm", ["kind=language_modl"], "did you mean 'language_model'"),
    ("lm", ["kind=song"], "kind: found 'song'; expected one of recognizer, language_model, ngram"),
    ("lm", ["model.cell={kind: conv_lstm, num_bands: 7}"], "model: conv_lstm: inputs of 8 features are no"),
    ("grams", ["tokenizer=null"], "with unit: token, expected a tokenizer, such as {kind: run, run: RUN}"),
    ("words", ["tokenizer={kind: char}"], "with unit: word, expected no tokenizer"),
    ("grams", ["min_count=2"], "min_count: for unit: word only; every token of the tokenizer is kept"),
    ("lm", ["data.dev={}"], "expected either manifest: FILE.jsonl or text: FILE.txt, and not both"),
]


@pytest.mark.parametrize(("name", "overrides", "message"), CONFIG_FAULTS)
def test_configurations_that_cannot_be_are_refused(folder: Path, name: str, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_experiment(folder / f"{name}.yaml", overrides)
    assert message in str(caught.value)


def test_texts_that_teach_nothing_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    run, two = f"run_dir={tmp_path / 'run'}", Processes(rank=0, world_size=2, device=torch.device("cpu"))
    for key in ("data.dev.text", "data.train.0.text"):
        with pytest.raises(DataError, match="no sentence of 1 to 1000 tokens in it; expected at least one"):
            train([str(folder / "lm.yaml"), f"{key}={tmp_path / 'empty.txt'}", "--dry-run"])
    with pytest.raises(ValueError, match=r"latin\.txt: not UTF-8 .*; expected plain text, one sentence a line"):
        train([str(folder / "lm.yaml"), f"data.dev.text={tmp_path / 'latin.txt'}", "--dry-run"])
    with pytest.raises(ValueError, match=r"data\.dev: no text in it; expected at least one line that is not empty"):
        train([str(folder / "words.yaml"), f"data.dev.text={tmp_path / 'empty.txt'}", "--dry-run"])
    with pytest.raises(ValueError, match="kind: ngram: several processes; it is counted by one"):
        train_ngram(load_experiment(folder / "words.yaml", [run]), two)  # type: ignore


def test_the_search_of_weights_finds_the_best_and_tries_none_twice() -> None:
    tried = []

    def attempt(weights: dict[str, float]) -> FusionTrial:
        tried.append(tuple(weights.values()))
        assert weights["weight"] >= 0
        errors = round(1000 * ((weights["weight"] - 0.9) ** 2 + (weights["token_bonus"] - 1.6) ** 2))
        counts = ErrorCounts(hits=10_000 - errors, substitutions=errors)
        return FusionTrial(weights, counts, ErrorCounts(hits=1))

    trials = search_pattern(attempt, start={"weight": 0.5, "token_bonus": 0.0})
    assert len(set(tried)) == len(tried) == len(trials)
    assert min(trials, key=lambda trial: trial.rank).weights == {"weight": 0.9, "token_bonus": 1.6}


def test_weights_are_tuned_on_dev_kept_and_used(folder: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("asr.fitting.fusion.STEPS", {"weight": 0.4})
    monkeypatch.setattr("asr.fitting.fusion.NUM_HALVINGS", 1)
    paths = write_recordings(tmp_path / "wav", [0.5, 0.6])
    spoken = [Utterance(str(number), str(path), 0.5, "stop") for number, path in enumerate(paths)]
    write_manifest(tmp_path / "dev.jsonl", spoken)
    run, dev = str(folder / "recognizer"), str(tmp_path / "dev.jsonl")
    model = ["--language-model", str(folder / "grams")]
    section = "{kind: ctc_beam, beam: 2}"
    assert evaluate([run, dev, "--decoding", section, *model, "--tune-fusion"]) == 0
    kept = folder / "recognizer" / "decodings" / "ctc_beam-grams.yaml"
    said = capsys.readouterr().out
    assert f"for --decoding: {kept}" in said
    tuned = read_decoding(str(kept))
    best = min(float(line.split("WER ")[1].split("%")[0]) for line in said.splitlines() if line.startswith("weight "))
    assert tuned.kind == "ctc_beam"
    assert tuned.beam == 2
    assert evaluate([run, dev, "--decoding", str(kept)]) == 0
    results = folder / "recognizer" / "evaluations" / f"{tmp_path.name}-dev-ctc_beam-grams" / "results.json"
    assert json.loads(results.read_text())["wer"]["rate"] == pytest.approx(best / 100, abs=1e-4)

    with pytest.raises(FusionTuningError, match="--tune-fusion: ctc_greedy without a language model"):
        evaluate([run, dev, "--decoding", "ctc_greedy", "--tune-fusion"])
    with pytest.raises(EvaluationError, match="of which decoding"):
        evaluate([run, dev, *model])
    with pytest.raises(EvaluationError, match="--tune-fusion: 2 manifests; expected one, of a dev split"):
        evaluate([run, dev, dev, "--decoding", section, *model, "--tune-fusion"])
