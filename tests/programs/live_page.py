"""The page in a headless Chromium with a fake microphone: python -m tests.programs.live_page [FOLDER OF PICTURES]

Needs playwright and a Chromium on the path; without one of them it says so, and ends with 0.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from asr.audio.reading import read_audio
from asr.recognizer import Recognizer
from tests.support.served import serving

ROOT = Path(__file__).resolve().parents[2]
COFFEE = ROOT / "recipes" / "barista_bilstm_ctc"
LATTE = "can i get a large latte with a little bit of sugar"
WAIT_SECONDS = 30


def wait_for(condition: Callable[[], bool]) -> None:
    """Asks again and again: the page's policy lets nobody evaluate text in it."""
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)


def main(pictures: Path) -> int:
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        print("left out: playwright is not installed")
        return 0
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("left out: there is no Chromium")
        return 0
    latte = read_audio(COFFEE / "examples" / "latte.opus", sample_rate=48_000)
    microphone = pictures / "microphone.wav"
    soundfile.write(microphone, np.concatenate([np.zeros(48_000), latte, np.zeros(4 * 48_000)]), 48_000)
    recognizer = Recognizer.load(COFFEE / "model_finetuned", commands=ROOT / "conf/commands/barista.yaml")
    arguments = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    arguments.append(f"--use-file-for-fake-audio-capture={microphone}")
    with serving(recognizer) as served, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        page = browser.new_page(viewport={"width": 1100, "height": 800})
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        page.goto(served.url)
        page.focus("#microphone")
        page.keyboard.press("Enter")
        wait_for(lambda: len(page.inner_text("#words")) > 3)
        page.screenshot(path=pictures / "speaking.png")
        page.wait_for_selector("#card .title", timeout=1000 * WAIT_SECONDS)
        print("microphone:", page.inner_text("#card").replace("\n", " | "))
        page.click("#microphone")
        wait_for(lambda: page.inner_text("#state") == "Not listening.")
        page.click("#history button")
        page.set_input_files("#file", COFFEE / "examples" / "latte.opus")
        before = page.locator("#history li").count()
        wait_for(lambda: page.locator("#history li").count() > before)
        played = page.inner_text("#card .title")
        print("file:", played)
        page.screenshot(path=pictures / "desktop.png")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": 390, "height": 780})
            time.sleep(0.2)
            page.screenshot(path=pictures / f"phone_{scheme}.png")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, "the page is wider than a phone's screen"
        browser.close()
    assert played == LATTE, played
    assert not faults, faults
    print("passed")
    return 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(main(Path(sys.argv[1])))
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(main(Path(folder)))
