"""`python -m build`: the wheel, installed by itself, works in an empty folder outside the tree."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAX_MEGABYTES = 16  # the two models are 14 of them


def run(*command: str | Path, cwd: Path) -> str:
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # or it would be the tree's
    done = subprocess.run(command, cwd=cwd, env=own, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made from the source distribution, as `python -m build` does."""
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.slow
def test_it_brings_what_is_needed_and_is_small(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"asr", "data_prep"}
    listed = subprocess.run(["git", "ls-files", "asr", "data_prep"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:  # in a clone
        assert not set(filter(lambda name: (ROOT / name).exists(), listed.stdout.split())) - set(names)
    brought = {name.removeprefix("asr/package_data/") for name in names if name.startswith("asr/package_data/")}
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "conf").rglob("*.yaml")} < brought
    assert wheel.stat().st_size < MAX_MEGABYTES * 1e6


@pytest.mark.slow
def test_installed_it_works_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    """The packages it needs are lent by this environment; a second torch would be 5 GB."""
    pytest.importorskip("espeakng_loader")
    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", environment, cwd=tmp_path)
    python = environment / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    run(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    # After its own folder on the path, so that the wheel's files come first.
    (site / "lent.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    where = run(python, "-c", "import asr, data_prep; print(asr.__file__, data_prep.__file__)", cwd=tmp_path).split()
    assert all(Path(path).is_relative_to(site) for path in where)
    assert shutil.which("bash")
    said = run("bash", ROOT / "tests/programs/smoke.sh", environment / "bin", cwd=tmp_path)
    assert said.endswith("smoke test: passed\n")
    left = run(python, "-c", "import asr.files.packaged as p; print(*p.ROOTS[0].rglob('runs'))", cwd=tmp_path).strip()
    assert not left, "results were written into the installed package"
