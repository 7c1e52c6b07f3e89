"""A connection to Home Assistant's WebSocket API, as https://developers.home-assistant.io/docs/api/websocket says.

The token is sent in the first message and stands in no error, no log and no file.
"""

from __future__ import annotations

import contextlib
import json
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.sync.client import connect

MOST_BYTES = 64 << 20  # of a message: the registry of a large home has ten million
REGISTRIES = ("area_registry", "floor_registry", "entity_registry", "device_registry")


class HomeError(ValueError):
    """A home that cannot be read: another try finds the same."""


class HomeLost(OSError):
    """A home that is out of reach for now."""


class CommandRefused(HomeError):
    """A command that Home Assistant answers with an error."""

    def __init__(self, command: str, code: str, message: str) -> None:
        self.code = code
        super().__init__(f"home-assistant: {command}: {code}: {message}; expected a result")


def socket_address(url: str) -> str:
    """Returns the address of the API: http://home:8123 is ws://home:8123/api/websocket."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    schemes = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
    try:
        is_whole = parts.scheme in schemes and parts.hostname and not parts.username and (parts.port or True)
    except ValueError:
        is_whole = False
    if not is_whole:
        raise HomeError(
            "--url: it is no address of a home, or has a password; expected http://HOST:8123, as a browser opens it"
        )
    path = parts.path.rstrip("/")
    path = path if path.endswith("/websocket") else f"{path.removesuffix('/api')}/api/websocket"
    return urlunsplit((schemes[parts.scheme], parts.netloc, path, "", ""))


class HomeLink:
    """Asks one command after another, and notes the events that come between."""

    def __init__(self, url: str, token: str, *, timeout: float = 15.0) -> None:
        self.timeout = timeout
        self._address, self._number, self._has_changed = socket_address(url), 0, False
        self._open_things = contextlib.ExitStack()
        self._socket = self._open()
        try:
            self._sign_in(token)
        except BaseException:
            self._open_things.close()
            raise

    def __enter__(self) -> HomeLink:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._open_things.close()

    def _open(self) -> Any:
        try:
            connecting = connect(self._address, max_size=MOST_BYTES, open_timeout=self.timeout, close_timeout=2)
            return self._open_things.enter_context(connecting)
        except (InvalidHandshake, InvalidURI) as error:
            raise HomeLost(
                f"{self._address}: no Home Assistant: {error}; expected its address, as a browser opens it"
            ) from error
        except (OSError, EOFError) as error:
            raise HomeLost(
                f"{self._address}: out of reach: {error or type(error).__name__}; expected a home that runs there"
            ) from error

    def _sign_in(self, token: str) -> None:
        if self._receive().get("type") != "auth_required":
            raise HomeError(f"{self._address}: it is not Home Assistant's API; expected it to ask for a token")
        self._send({"type": "auth", "access_token": token})
        if self._receive().get("type") != "auth_ok":
            raise HomeError(
                f"{self._address}: the token is not taken; expected a long-lived access token of an administrator, "
                f"made on the profile's page, Security"
            )

    def ask(self, command: str, **values: Any) -> Any:
        """Returns the result of a command. Raises CommandRefused where Home Assistant names an error."""
        self._number += 1
        self._send({"id": self._number, "type": command, **values})
        while True:
            answer = self._receive()
            if answer.get("type") in ("result", "pong") and answer.get("id") == self._number:
                break
            self._note(answer)
        if answer["type"] == "result" and not answer.get("success"):
            error = answer.get("error") or {}
            raise CommandRefused(command, str(error.get("code")), str(error.get("message")))
        return answer.get("result")

    def subscribe(self) -> None:
        """Let what changes in the registries be told."""
        for registry in REGISTRIES:
            self.ask("subscribe_events", event_type=f"{registry}_updated")

    def wait_for_change(self, seconds: float) -> bool:
        """Returns whether a registry changes within so many seconds; then asks whether the home is still there."""
        if not self._has_changed:
            try:
                self._note(self._receive(seconds))
            except TimeoutError:
                self.ask("ping")
        changed, self._has_changed = self._has_changed, False
        return changed

    def _note(self, message: dict[str, Any]) -> None:
        self._has_changed = self._has_changed or message.get("type") == "event"

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._socket.send(json.dumps(message))
        except ConnectionClosed as error:
            raise self._lost(error) from error

    def _receive(self, seconds: float | None = None) -> dict[str, Any]:
        """Returns the next message. Raises TimeoutError only where `seconds` are given."""
        try:
            message = json.loads(self._socket.recv(timeout=self.timeout if seconds is None else seconds))
        except ConnectionClosed as error:
            raise self._lost(error) from error
        except TimeoutError as error:
            if seconds is not None:
                raise
            raise HomeLost(f"{self._address}: no answer within {self.timeout:g} s; expected one") from error
        except (ValueError, RecursionError) as error:
            raise HomeError(f"{self._address}: it sent no JSON; expected Home Assistant's messages") from error
        if not isinstance(message, dict):
            raise HomeError(f"{self._address}: it sent no object of JSON; expected Home Assistant's messages")
        return message

    def _lost(self, error: ConnectionClosed) -> HomeLost:
        return HomeLost(f"{self._address}: the connection was closed: {error}; expected it to stay")
