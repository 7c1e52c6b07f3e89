"""The dashboard: its page, what it says of broken lines, the stored curve, and the server on loopback."""

import http.client
import json
import threading
from pathlib import Path

import pytest

from asr.dashboard import main
from asr.dashboards.curves import DashboardError, differing_keys, read_run
from asr.dashboards.run import open_server
from asr.process.runtime import EXIT_BAD_FILES, EXIT_OK


def make_run(folder: Path, scale: float = 1.0) -> Path:
    folder.mkdir()
    lines = [{"step": 10 * i, "train/epoch": i // 10, "train/loss": scale / i} for i in range(1, 20)]
    lines.append({"step": 195, "train/epoch": 2, "dev/wer": 0.5})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "speed.jsonl").write_text('{"step": 10, "speed/data_wait_share": 0.1}\n')
    return folder


def test_the_page_holds_all_and_asks_for_nothing(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "<b>", 2.0)]
    assert main([*map(str, runs), "--output", str(tmp_path / "page.html")]) == EXIT_OK
    page = (tmp_path / "page.html").read_text()
    assert "http://www.w3.org/2000/svg" in page  # the name of SVG, the only address
    assert page.count("http://") + page.count("https://") == 1
    assert "default-src 'none'" in page
    assert "<b>" not in page
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    assert data["runs"][1]["series"]["train/loss"][0] == [10, 2.0]
    assert data["runs"][0]["epochs"] == [[0, 0.0], [195, 2.0]]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{oops", "expected one JSON object a line"),
        ('{"step": 1, "step": 2}', "twice"),
        ('{"a": 1}', "with a step"),
        ('{"step": 1, "a": "b"}', "finite number"),
        ('{"step": 1, "a": NaN}', "finite number"),
    ],
)
def test_a_broken_line_is_said_with_its_place_and_the_rest_is_kept(
    tmp_path: Path, line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "a")
    with (run / "metrics.jsonl").open("a") as file:
        file.write(f'{line}\n{{"step": 200, "train/loss": 7}}\n{{"step": 2')
    assert main([str(run), "--output", str(tmp_path / "page.html")]) == EXIT_BAD_FILES
    assert f"{run / 'metrics.jsonl'}:21: " in (err := capsys.readouterr().err)
    assert said in err
    assert read_run(run).series["train/loss"][-1] == (200, 7.0)


def test_what_cannot_be_drawn_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DashboardError, match="no such folder"):
        main([str(tmp_path / "gone")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DashboardError, match="no run has any figure"):
        main([str(tmp_path / "empty")])
    with pytest.raises(DashboardError, match="no figures to store"):
        main([str(tmp_path / "empty"), "--store-curve", str(tmp_path / "curve.json")])
    with pytest.raises(SystemExit):
        main(["a", "b", "--store-curve", "c"])


def test_a_stored_curve_is_drawn_behind(tmp_path: Path) -> None:
    run, curve = make_run(tmp_path / "a"), tmp_path / "curve.json"
    assert main([str(run), "--store-curve", str(curve)]) == EXIT_OK
    assert main([str(run), "--reference", str(curve), "--output", str(tmp_path / "page.html")]) == EXIT_OK
    assert "The grey band is the reference a." in (tmp_path / "page.html").read_text()
    bands = json.loads(curve.read_text())["bands"]["train/loss"]
    assert all(low <= high for _, low, high in bands)
    curve.write_text('{"format": 2}')
    with pytest.raises(DashboardError, match="store one with --store-curve"):
        main([str(run), "--reference", str(curve)])
    with pytest.raises(DashboardError, match="cannot be read"):
        main([str(run), "--reference", str(tmp_path / "gone.json")])


def test_keys_that_differ_and_evaluations_are_shown(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    rates = {"manifest": "m", "num_utterances": 3, "wer": {"rate": 0.25}, "cer": {"rate": 0.1}}
    (run / "results.json").write_text(json.dumps(rates))
    (run / "utterances.jsonl").write_text('{"text": "one", "pred_text": "two"}\n')
    curves = read_run(run)
    assert curves.evaluations[0]["transcripts"] == [("one", "two")]
    commands = {"manifest": "m", "num_utterances": 3, "understanding": {"understood": {"number": 2, "total": 3}}}
    (run / "results.json").write_text(json.dumps(commands))
    assert read_run(run).evaluations[0]["understood"] == "2 of 3"
    (run / "utterances.jsonl").write_text('{"text": "one"}\n{oops\n{"text": "three"}\n')
    broken = read_run(run)
    assert f"{run / 'utterances.jsonl'}:2: " in broken.problems[0]
    assert [text for text, _ in broken.evaluations[0]["transcripts"]] == ["one", "three"]
    (run / "config.yaml").write_text("data: [")
    assert "its keys are left out of the comparison" in read_run(run).problems[0]
    (run / "config.yaml").unlink()
    (run / "utterances.jsonl").unlink()
    (run / "results.json").write_text("{}")
    assert "expected what asr.evaluate writes" in read_run(run).problems[0]
    one, two = (curves.__class__("x", {}, [], {"seed": seed, "run_dir": seed, "same": "1"}) for seed in "12")
    assert differing_keys([one, two]) == [("seed", ["1", "2"])]


def test_the_server_reads_anew_and_answers_its_own_machine_only(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    with open_server([run], None, port=0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def ask(path: str, host: str = "127.0.0.1") -> tuple[int, bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
            connection.request("GET", path, headers={"Host": host})
            answer = connection.getresponse()
            return answer.status, answer.read()

        assert b"connect-src 'self'" in ask("/")[1]
        with (run / "metrics.jsonl").open("a") as file:
            file.write('{"step": 300, "train/loss": 0.01}\n')
        assert json.loads(ask("/data.json")[1])["runs"][0]["series"]["train/loss"][-1] == [300, 0.01]
        assert ask("/../etc")[0] == 404
        assert ask("/", host="evil.example")[0] == 403
        with pytest.raises(DashboardError, match="take another"):
            open_server([run], None, port=server.server_port)
        server.shutdown()
