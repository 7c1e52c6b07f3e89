"""Fixtures shared by all tests: one thread, a fixed generator, the real recordings where they are."""

from pathlib import Path

import pytest
import torch
from hypothesis import settings

from tests.support.tones import write_config, write_tone_corpus

# A busy machine makes any example slow now and then; how long an example takes is no property of the code.
settings.register_profile("earshot", deadline=None)
settings.load_profile("earshot")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SHARED_CASES = SHARED_DATA.with_name("cases")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What PyTorch does not promise is tried first, so that a lost operator is named before all that needs it."""
    items.sort(key=lambda item: item.path.name != "test_operators.py")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings beside the checkout; tests that need it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the real recordings in {SHARED_DATA}, which are not part of the repository")
    return SHARED_DATA


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """The folder of reported inputs beside the checkout; tests that need it are skipped where it is absent."""
    if not SHARED_CASES.is_dir():
        pytest.skip(f"needs the reported inputs in {SHARED_CASES}, which are not part of the repository")
    return SHARED_CASES


@pytest.fixture(scope="session")
def tone_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.jsonl and dev.jsonl that a tiny model learns in seconds; not to be written to."""
    return write_tone_corpus(tmp_path_factory.mktemp("tones"))


@pytest.fixture
def tone_config(tone_corpus: Path, tmp_path: Path) -> Path:
    """A configuration file that trains on it."""
    return write_config(tmp_path / "tones.yaml", tone_corpus)
