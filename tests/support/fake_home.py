"""A small Home Assistant: the part of its WebSocket API that an import asks, by its public documentation."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

TOKEN = "a-long-lived-token-of-the-tests"


def entity(entity_id: str, name: str, *, area: str | None = None, **values: Any) -> dict[str, Any]:
    return {"entity_id": entity_id, "friendly_name": name, "area_id": area, "aliases": [], **values}


def small_home() -> list[dict[str, Any]]:
    return [
        entity("light.ceiling", "Kitchen Ceiling", area="kitchen", aliases=["Big Light", None]),
        entity("light.lamp", "Lamp 2", area="bedroom"),
        entity("light.party", "🎉🎉"),
        entity("switch.fan", "Coffee Machine", device_id="d1"),
        entity("climate.heating", "Heating", area="kitchen"),
        entity("lock.door", "Front Door"),
        entity("todo.shopping", "Shopping"),
        entity("light.secret", "Secret", is_exposed=False),
    ]


@dataclass
class FakeHome:
    """What the home has; whoever changes it tells so with `say_changed`."""

    entities: list[dict[str, Any]] = field(default_factory=small_home)
    refused: dict[str, str] = field(default_factory=dict)  # commands, and the code of their error
    first: Any = field(default_factory=lambda: {"type": "auth_required", "ha_version": "2026.11.0"})
    connections: list[ServerConnection] = field(default_factory=list)
    subscriptions: list[tuple[ServerConnection, int]] = field(default_factory=list)
    num_signed_in: int = 0
    token: str = TOKEN
    is_silent: bool = False
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        with suppress(ConnectionClosed):
            connection.send(self.first if isinstance(self.first, str) else json.dumps(self.first))
            signed_in = json.loads(connection.recv()) == {"type": "auth", "access_token": self.token}
            connection.send(json.dumps({"type": "auth_ok" if signed_in else "auth_invalid"}))
            self.num_signed_in += signed_in
            while signed_in:
                self._answer(connection, json.loads(connection.recv()))

    def _answer(self, connection: ServerConnection, asked: dict[str, Any]) -> None:
        kind, number = asked["type"], asked["id"]
        if self.is_silent:
            return
        if kind == "ping":
            connection.send(json.dumps({"id": number, "type": "pong"}))
            return
        if code := self.refused.get(kind):
            error = {"code": code, "message": "of the test"}
            answer = {"id": number, "type": "result", "success": False, "error": error}
        else:
            answer = {"id": number, "type": "result", "success": True, "result": self._result(kind, asked)}
        if kind == "subscribe_events":
            self.subscriptions.append((connection, number))
        connection.send(json.dumps(answer))

    def _result(self, kind: str, asked: dict[str, Any]) -> Any:
        by_id = {each["entity_id"]: each for each in self.entities}
        areas = {"kitchen": ("Kitchen", ["cookhouse"], "ground"), "bedroom": ("Bedroom", [], None)}
        return {
            "homeassistant/expose_entity/list": {
                "exposed_entities": {
                    name: {"conversation": True} for name, each in by_id.items() if each.get("is_exposed", True)
                }
            },
            "config/entity_registry/get_entries": {name: by_id.get(name) for name in asked.get("entity_ids", ())},
            "config/entity_registry/list": self.entities,
            "config/device_registry/list": [{"id": "d1", "area_id": "kitchen"}],
            "config/area_registry/list": [
                {"area_id": area, "name": name, "aliases": aliases, "floor_id": floor}
                for area, (name, aliases, floor) in areas.items()
            ],
            "config/floor_registry/list": [{"floor_id": "ground", "name": "Ground Floor", "aliases": []}],
            "get_states": [
                {"entity_id": name, "state": "on", "attributes": {"friendly_name": each["friendly_name"]}}
                for name, each in by_id.items()
            ],
            "get_config": {"unit_system": {"temperature": "°C"}},
            "todo/item/list": {"items": [{"summary": "Oat milk"}]},
            "subscribe_events": None,
        }[kind]

    def say_changed(self) -> None:
        for connection, number in self.subscriptions:
            event = {"event_type": "entity_registry_updated", "data": {"action": "update"}}
            with suppress(ConnectionClosed):
                connection.send(json.dumps({"id": number, "type": "event", "event": event}))

    def hang_up(self) -> None:
        for connection in self.connections:
            connection.close()
        self.connections.clear()
        self.subscriptions.clear()


@contextmanager
def living(home: FakeHome | None = None) -> Iterator[FakeHome]:
    """A home that answers on a free port of this machine until the block is left."""
    home = home or FakeHome()
    server: Server = serve(home.serve, "127.0.0.1", 0)
    home.port = server.socket.getsockname()[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield home
    finally:
        home.hang_up()
        server.shutdown()
        thread.join(10)
