"""The layout promised in the README: imports go up only, and files and functions stay small."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# From the bottom up; a module imports from the layers below it, and from its own family.
LAYERS = [
    {
        "section",
        "packaged",
        "signals",
        "compiling",
        "dropout",
        "files",
        "yaml_file",
        "json_lines",
        "utterance_ids",
        "plots",
        "pronunciation",
        "containers",
        "audio_levels",
        "console_lines",
        "bars",
        "audio_av",
        "job_report",
    },
    {"journal", "runtime", "text", "audio", "distributed", "media", "transcript", "data_workers"},
    {"interruption"},
    {"audio_worker", "shares", "conversation"},
    {"manifest", "features", "tokenizer", "metrics", "checkpoint", "tracking", "cells", "transfer"}
    | {"formats", "voice_activity", "stitching"},
    {"fitted", "job_console"},
    {
        "augment",
        "shards",
        "optim",
        "significance",
        "long_lag",
        "alignment",
        "confidence",
        "reference_form",
        "segmentation",
        "endpointing",
        "audio_pool",
        "job_progress",
        "inputs",
        "engines",
    },
    {"encoders", "language_models"},
    {"heads", "data"},
    {"decoding", "text_data"},
    {"model"},
    {"commands", "config", "explanation"},
    {"language_config", "explanation_plot"},
    {"run"},
    {"language_loading"},
    {"precision", "experiment", "loading", "job_config"},
    {"listening"},
    {"packing", "memory", "model_card", "validation", "progress", "recognizer", "job_output", "familiarity"},
    {"plan", "comparison", "explanation_page", "transcriber", "language_experiment", "ngram_training"}
    | {"earlier_results"},
    {"task", "fusion_tuning"},
    {"training"},
    {"loop", "report", "trial", "long_lag_report", "calibration", "job"},
    {"comparison_report", "calibration_report", "command_report", "evaluation", "label_transcripts"},
    {"prior_measurement"},
    {
        "train",
        "evaluate",
        "transcribe",
        "compare",
        "explain",
        "export",
        "__main__",
    },  # __main__: the program of a package
]
LAYER_OF = {name: number for number, layer in enumerate(LAYERS) for name in layer}
DATA_PREP_MAY_USE = {"asr.manifest", "asr.audio", "asr.text", "asr.features", "asr.commands"} | {
    "asr.runtime",
    "asr.packaged",
    "asr.files",
    "asr.json_lines",
    "asr.utterance_ids",
    "asr.section",
    "asr.shards",
    "asr.config",
    "asr.engines",
}


def modules(folder: str) -> dict[str, Path]:
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


def imported(path: Path) -> set[str]:
    """Every module of ours that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in KNOWN else node.module for name in submodules}
    return {name for name in found if name in KNOWN}


KNOWN = modules("asr") | modules("data_prep")


@pytest.mark.parametrize("name", sorted(modules("asr")))
def test_imports_go_up_only(name: str) -> None:
    if name == "asr":
        return
    family = "__main__" if name.endswith(".__main__") else name.split(".")[1]
    assert family in LAYER_OF, f"asr.{family} has no layer; give it one in LAYERS"
    for other in imported(KNOWN[name]):
        assert other.startswith("asr"), f"{name} imports {other}: nothing in asr/ imports data_prep/"
        below = other.split(".")[1] if "." in other else None
        if below in (None, family):
            continue
        assert LAYER_OF[below] < LAYER_OF[family], f"{name} imports {other}, which is not below it"


@pytest.mark.parametrize("name", sorted(modules("data_prep")))
def test_data_preparation_uses_the_lower_layers_only(name: str) -> None:
    for other in imported(KNOWN[name]):
        allowed = other.startswith("data_prep") or any(f"{other}.".startswith(f"{use}.") for use in DATA_PREP_MAY_USE)
        assert allowed, f"{name} imports {other}"


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {name: imported(path) - {name} for name, path in KNOWN.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"circle: {' -> '.join([*trail[trail.index(name) :], name])}"
        if name not in done:
            for other in graph[name]:
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def tracked_python() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).exists()]


@pytest.mark.parametrize("path", tracked_python(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_small(path: Path) -> None:
    source = path.read_text()
    is_test = "tests" in path.relative_to(ROOT).parts
    assert source.count("\n") < (700 if is_test else 400), f"{path} is too long"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and not is_test:
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            assert size <= 60, f"{path}:{node.lineno} {node.name} has {size} lines"
            count = len(node.args.posonlyargs + node.args.args + node.args.kwonlyargs)
            assert count <= 8, f"{path}:{node.lineno} {node.name} has {count} parameters"


FORBIDDEN = {"torch.load(": "unpickles", "pickle.load": "unpickles", "yaml.load(": "runs code", "shell=True": "a shell"}


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_nothing_unpickles_or_runs_what_it_reads(name: str) -> None:
    source = KNOWN[name].read_text()
    assert not [text for text in FORBIDDEN if text in source]
