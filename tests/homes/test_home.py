"""A home's names as a grammar, from a small stand-in of Home Assistant's WebSocket API."""

import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("websockets", reason="needs the extra home")
pytest.importorskip("hassil", reason="needs the extra home")
pytest.importorskip("home_assistant_intents", reason="needs the extra home")
pytest.importorskip("espeakng_loader", reason="needs the extra home")

from asr.commands import main
from asr.grammar.file import GrammarError
from asr.grammar.parsing import SentenceParser
from asr.grammar.templates import load_grammar
from asr.homes.home import DOMAINS, check_domains, spoken_name
from asr.homes.link import HomeError, HomeLink, HomeLost, socket_address
from asr.homes.run import HomeImport, Waits, import_home, write_checked
from tests.support.fake_home import TOKEN, FakeHome, entity, living, small_home

FEW = ("light", "switch", "climate", "lock", "todo")


def job(home: FakeHome, output: Path, domains: tuple[str, ...] = FEW) -> HomeImport:
    return HomeImport(home.url, TOKEN, output, domains)


def meanings(path: Path, sentence: str) -> list[tuple[str, dict]]:
    return [(each.intent, dict(each.slots)) for each in SentenceParser(load_grammar(path)).parse(sentence)]


def test_a_home_becomes_a_grammar_of_its_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "home.yaml"
    with living() as home:
        arguments = ["import", "home-assistant", "--url", home.url, "--token", TOKEN, "-o", str(path)]
        assert main([*arguments, "--domains", ",".join(FEW)]) == 0
    assert meanings(path, "turn on the kitchen ceiling")[0] == ("HassTurnOn", {"name": "Kitchen Ceiling"})
    assert meanings(path, "turn on the big light")[0][1]["name"] == "Kitchen Ceiling"  # its alias
    assert meanings(path, "turn off the lamp two in the bedroom")[0][1] == {"name": "Lamp 2", "area": "Bedroom"}
    assert not meanings(path, "turn off the lamp two in the kitchen")  # it is not there
    assert meanings(path, "turn off the lights in the cookhouse")[0][1] == {"domain": "light", "area": "Kitchen"}
    assert meanings(path, "turn on the lights on the ground floor")[0][1]["floor"] == "Ground Floor"
    assert meanings(path, "switch on coffee machine in the kitchen")  # its area is its device's
    assert meanings(path, "set the temperature to twenty one degrees") == [
        ("HassClimateSetTemperature", {"temperature": 21})
    ]
    assert meanings(path, "lock the front door")[0][0] == "HassTurnOn"
    assert meanings(path, "add oat milk to my shopping list")[0] == ("HassShoppingListAddItem", {"item": "oat milk"})
    assert not meanings(path, "turn on the secret")  # not exposed
    assert not meanings(path, "set a timer for two minutes")  # no domain that was asked for
    said = capsys.readouterr()
    assert "left out: light.party: '🎉🎉' cannot be said; give it an alias in words" in said.err
    assert TOKEN not in said.out + said.err + path.read_text()
    assert main(["check", str(path)]) == 0


def test_what_is_exposed_but_gone_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "home.yaml"
    gone = entity("light.gone", "Old Lantern", disabled_by="user")
    with living(FakeHome(entities=[*small_home(), gone])) as home:
        import_home(job(home, path))
    assert "left out: light.gone: it is exposed, but it is not there" in capsys.readouterr().err
    assert not meanings(path, "turn on the old lantern")
    assert meanings(path, "turn on the big light")


def test_what_has_not_changed_is_not_written_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "home.yaml"
    with living() as home:
        import_home(job(home, path))
        first, state = path.read_bytes(), path.stat().st_mtime_ns
        home.entities.reverse()  # in whatever order they come
        import_home(job(home, path))
    assert path.read_bytes() == first
    assert path.stat().st_mtime_ns == state
    assert "nothing has changed" in capsys.readouterr().out


def test_an_older_home_has_neither_floors_nor_entries(tmp_path: Path) -> None:
    path = tmp_path / "home.yaml"
    refused = dict.fromkeys(("config/floor_registry/list", "config/entity_registry/get_entries"), "unknown_command")
    with living(FakeHome(refused=refused)) as home:
        import_home(job(home, path))
    assert meanings(path, "turn on the kitchen ceiling")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Lamp 2 💡", "lamp two"),
        ("TV & Radio", "tv and radio"),
        ("Door (back)", "door back"),
        ("007", "zero zero seven"),
        ("½ light", "one two light"),
        ("💡", ""),
        ("", ""),
    ],
)
def test_names_are_said_in_words(name: str, said: str) -> None:
    assert spoken_name(name, language="en") == said


def test_names_that_are_taken_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twins = [entity("light.a", "Lamp", area="kitchen"), entity("light.b", "Lamp", area="kitchen")]
    with living(FakeHome(entities=twins)) as home:
        import_home(job(home, tmp_path / "home.yaml"))
    assert "another one of its area is called so already" in capsys.readouterr().err


BAD_HOMES = {
    "no exposed entity of": FakeHome(entities=[]),
    "no exposed entity can be said": FakeHome(entities=[entity("light.a", "💡")]),
    "not Home Assistant's API": FakeHome(first={"type": "hello"}),
    "it sent no JSON": FakeHome(first="hello"),
    "it sent no object of JSON": FakeHome(first=[1]),
    "may not see what is exposed": FakeHome(refused={"homeassistant/expose_entity/list": "unauthorized"}),
    "get_states: unknown_error: of the test": FakeHome(refused={"get_states": "unknown_error"}),
}


@pytest.mark.parametrize("message", BAD_HOMES)
def test_a_home_that_cannot_be_read_changes_nothing(tmp_path: Path, message: str) -> None:
    path = tmp_path / "home.yaml"
    path.write_text("of before")
    with living(BAD_HOMES[message]) as home, pytest.raises(HomeError, match=message):
        import_home(job(home, path))
    assert path.read_text() == "of before"
    assert [each.name for each in tmp_path.iterdir()] == ["home.yaml"]


def test_wrong_tokens_and_addresses_are_said(tmp_path: Path) -> None:
    with living() as home:
        with pytest.raises(HomeError, match="the token is not taken") as caught:
            HomeLink(home.url, "a-wrong-one")
        assert "a-wrong-one" not in str(caught.value)
    with pytest.raises(HomeLost, match="out of reach"):
        HomeLink(home.url, TOKEN)  # it is gone
    for url in ("ftp://home", "http://", "http://me:secret@home", "http://home:port"):
        with pytest.raises(HomeError, match="no address of a home") as caught:
            socket_address(url)
        assert "secret" not in str(caught.value)
    assert socket_address("https://home.example/") == "wss://home.example/api/websocket"
    assert socket_address("ws://supervisor/core/websocket") == "ws://supervisor/core/websocket"


def test_a_server_that_is_no_home_is_said() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _ = listener.accept()
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        connection.close()

    threading.Thread(target=answer, daemon=True).start()
    with listener, pytest.raises(HomeLost, match=r"no Home Assistant: .*404"):
        HomeLink(f"http://127.0.0.1:{listener.getsockname()[1]}", TOKEN)


def test_a_home_that_does_not_answer_is_lost() -> None:
    with living() as home, HomeLink(home.url, TOKEN, timeout=0.2) as link:
        home.is_silent = True
        with pytest.raises(HomeLost, match=r"no answer within 0\.2 s"):
            link.ask("get_states")
        home.hang_up()
        with pytest.raises(HomeLost, match="the connection was closed"):
            link.ask("get_states")


def test_options_that_do_not_fit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME_ASSISTANT_TOKEN", raising=False)
    here = ["import", "home-assistant", "-o", str(tmp_path / "x.yaml")]
    url = ["--url", "http://127.0.0.1:1"]
    with pytest.raises(ValueError, match="nothing to import"):
        main(here)
    with pytest.raises(ValueError, match="--watch: of a home that runs"):
        main([*here, "--watch"])
    with pytest.raises(ValueError, match="token: none, or not one line"):
        main([*here, *url])
    with pytest.raises(ValueError, match="of home-assistant alone"):
        main(["import", "jsgf", "-o", "x", *url])
    with pytest.raises(HomeError, match="--domains: 'lights' is unknown"):
        main([*here, *url, "--token", "x", "--domains", "light,lights"])
    assert check_domains(None) == list(DOMAINS)
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    with living() as home:
        assert main([*here, "--url", home.url, "--token-file", str(token), "--domains", "light"]) == 0
    monkeypatch.setitem(sys.modules, "asr.homes.home", None)
    for name in ("asr.homes.link", "asr.homes.run", "asr.homes.home"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "websockets.exceptions", None)
    monkeypatch.setitem(sys.modules, "websockets.sync.client", None)
    with pytest.raises(ValueError, match=r"pip install 'earshot\[home\]'"):
        main([*here, *url, "--token", "x"])


def test_a_grammar_with_faults_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    with pytest.raises(GrammarError, match=rf"{path}:"):
        write_checked(
            path, "language: en\nintents: {A: {data: [{sentences: ['a {b} and {b}']}]}}\nlists: {b: {values: [c]}}"
        )
    with pytest.raises(GrammarError, match=rf"{path}"):
        write_checked(path, "intents: [")
    assert not path.exists()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def test_a_watch_follows_the_home_and_outlives_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, waits = tmp_path / "home.yaml", Waits(quiet=0.05, again=600, first=0.05, most=0.1)
    with living() as home:
        ended: list[str] = []

        def watch() -> None:
            try:
                import_home(job(home, path, ("light",)), watch=True, waits=waits)
            except HomeError as error:
                ended.append(str(error))

        threading.Thread(target=watch, daemon=True).start()
        wait_for(path.is_file)
        home.entities.append(entity("light.new", "Reading Lamp"))
        home.say_changed()
        wait_for(lambda: "reading lamp" in path.read_text())
        whole, kept = home.entities, path.read_bytes()
        home.entities = []
        home.say_changed()
        said = ""

        def has_said(words: str) -> bool:
            nonlocal said
            said += capsys.readouterr().err
            return words in said

        wait_for(lambda: has_said("the file of before stays"))
        assert path.read_bytes() == kept
        home.hang_up()
        wait_for(lambda: has_said("the file stays, and it is tried again"))
        wait_for(lambda: home.num_signed_in == 2)
        assert path.read_bytes() == kept
        home.entities = [*whole, entity("light.late", "Night Light")]
        wait_for(lambda: len(home.subscriptions) == 4)
        home.say_changed()
        wait_for(lambda: "night light" in path.read_text())
        home.token = "another one, for this one was revoked"
        home.hang_up()
        wait_for(lambda: bool(ended))
    assert "the token is not taken" in ended[0]
