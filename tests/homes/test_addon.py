"""The add-on's folder, as far as it can be looked at without Docker."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import asr

pytest.importorskip("websockets", reason="needs the extra home")
pytest.importorskip("espeakng_loader", reason="needs the extra home")

from asr.homes.home import check_domains

FOLDER = Path(__file__).resolve().parents[2] / "recipes" / "home_assistant"


def test_its_configuration_has_what_home_assistant_asks_for() -> None:
    config = yaml.safe_load((FOLDER / "config.yaml").read_text())
    assert {"name", "version", "slug", "description", "arch"} <= config.keys()
    assert config["version"] == asr.__version__
    assert config["options"].keys() == config["schema"].keys()
    said = yaml.safe_load((FOLDER / "translations" / "en.yaml").read_text())
    assert said["configuration"].keys() == config["schema"].keys()
    assert said["network"].keys() == config["ports"].keys()
    assert check_domains(config["options"]["domains"]) == check_domains(None)


def test_its_script_is_one() -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    script = FOLDER / "run.sh"
    subprocess.run([bash, "-n", str(script)], check=True)
    config = yaml.safe_load((FOLDER / "config.yaml").read_text())
    for option in config["options"]:
        assert f"option {option}" in script.read_text()
