"""Why a server does not do what a client asks: one kind of error for HTTP, WebSockets and Wyoming."""

from __future__ import annotations

CLOSE_CODES = {  # RFC 6455, section 7.4.1, and the registry that it founds
    400: 1002,  # protocol error
    401: 1008,  # policy violation
    403: 1008,
    408: 1008,
    413: 1009,  # message too big
    415: 1003,  # unsupported data
    422: 1007,  # invalid payload data
    429: 1013,  # try again later
    503: 1012,  # service restart
}
MOST_REASON_BYTES = 123  # of a closing frame, section 5.5
KINDS = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
}


class Refusal(ValueError):
    """A request that is not served; the message says what was found and what was expected."""

    def __init__(self, status: int, message: str, *, code: str, retry_after: float | None = None) -> None:
        """`status` is HTTP's; `code` is a short name for programs; `retry_after` is in seconds."""
        super().__init__(message)
        self.status, self.code = status, code
        self.retry_after = retry_after

    @property
    def close_code(self) -> int:
        """Returns the code that closes a WebSocket."""
        return CLOSE_CODES.get(self.status, 1011)

    @property
    def reason(self) -> str:
        """Returns the message as far as a closing frame has room for it."""
        return str(self).encode()[:MOST_REASON_BYTES].decode(errors="ignore")

    def values(self) -> dict[str, object]:
        """Returns the body of the answer, in the shape that OpenAI's clients read."""
        kind = KINDS.get(self.status, "invalid_request_error")
        parameter = str(self).partition(":")[0] if self.status == 422 else None
        return {"error": {"message": str(self), "type": kind, "param": parameter, "code": self.code}}

    def headers(self) -> dict[str, str]:
        """Returns the headers that go with the answer."""
        found = {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}
        if self.retry_after is not None:
            found["Retry-After"] = str(max(1, round(self.retry_after + 0.5)))
        return found
