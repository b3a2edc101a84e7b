"""Blocking HTTP requests: `http.post(url, value)`.

This module belongs to your project: change it as you like. `http = true` in `consumer.toml` generates the modules
`wit_world.imports.outgoing_handler` and `http_types`, which have the other methods of `wasi:http` too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from componentize_py_types import Err
from wit_world.imports import http_types as wasi
from wit_world.imports import monotonic_clock, outgoing_handler
from wit_world.imports.poll import poll


class Error(Exception):
    """There is no response; the text is the reason."""


class Denied(Error):
    """The operator has not granted the request. The log of klines shows the line that would grant it."""


def check_url(url: str) -> str | None:
    """Returns what is wrong with a URL, without the URL itself; None if `post` accepts it.

    Call it in `problems` of your settings, so that `klines check` reports a wrong URL.
    """
    scheme = re.match("https?://", url)
    if not scheme:
        return "does not begin with https:// or http://"
    if "#" in url or not re.fullmatch("[!-~]*", url):
        return "has a #, a blank or a character that is not ASCII"
    authority = re.split("[/?]", url[scheme.end() :], maxsplit=1)[0]
    if not authority or authority.startswith(":"):
        return "has no host"
    if "@" in authority:
        return "has a login: put the header `authorization` into `allow.secrets`"
    return None


def origin(url: str) -> str:
    """Returns the scheme and the host of a URL, such as `https://hooks.example.com`; `an invalid URL` if it is wrong.

    Use it in logs and errors: the path can be secret.
    """
    found = None if check_url(url) else re.match("https?://[^/?]+", url)
    return found[0] if found else "an invalid URL"


def post(url: str, value: object, headers: Mapping[str, str] = {}, timeout: float = 0.8) -> int:
    """Posts a value as JSON, waits for the response, and returns its status.

    `timeout` is in seconds, for the whole request: a call of a consumer may take 1 s in all.
    Do not put secrets into `headers`: the operator names them in `allow.secrets`, and klines adds them to the request.
    """
    if wrong := check_url(url):
        raise Error(f"the URL {wrong}")
    body = json.dumps(value).encode()
    own = [("content-type", "application/json"), ("content-length", str(len(body))), *headers.items()]
    try:
        return _send(_request(url, own), body, int(timeout * 1e9))
    except TimeoutError:
        raise Error(f"POST {origin(url)}: no response in {timeout * 1000:.0f} ms") from None
    except Err as failed:
        raise _error(url, failed.value) from None


def _request(url: str, headers: list[tuple[str, str]]) -> wasi.OutgoingRequest:
    scheme, _, rest = url.partition("://")
    authority = re.split("[/?]", rest, maxsplit=1)[0]
    path = rest[len(authority) :]
    request = wasi.OutgoingRequest(wasi.Fields.from_list([(name, text.encode()) for name, text in headers]))
    request.set_method(wasi.Method_Post())
    request.set_scheme(wasi.Scheme_Http() if scheme == "http" else wasi.Scheme_Https())
    request.set_authority(authority)
    request.set_path_with_query(path if path.startswith("/") else f"/{path}")
    return request


def _send(request: wasi.OutgoingRequest, body: bytes, timeout: int) -> int:
    """Sends a request and returns the status of the response. Raises TimeoutError after `timeout` nanoseconds."""
    with monotonic_clock.subscribe_duration(timeout) as over:
        options = wasi.RequestOptions()
        # Without it, the time for a connection could exceed the limit while the body is written.
        options.set_connect_timeout(timeout)
        outgoing = request.body()
        with outgoing_handler.handle(request, options) as pending:
            _write(outgoing, body)
            with pending.subscribe() as ready:
                if 0 not in poll([ready, over]):
                    raise TimeoutError
            return _status(pending)


def _write(outgoing: wasi.OutgoingBody, body: bytes) -> None:
    try:
        with outgoing.write() as stream:
            for start in range(0, len(body), 4096):
                stream.blocking_write_and_flush(body[start : start + 4096])
        wasi.OutgoingBody.finish(outgoing, None)
    except Err:
        pass  # The request has failed; the response says why.


def _status(pending: wasi.FutureIncomingResponse) -> int:
    answer = pending.get()
    assert answer is not None, "it was waited for"
    response = answer.value
    if isinstance(response, Err):
        raise response
    with response.value as head:
        return head.status()


def _error(url: str, reason: object) -> Error:
    if isinstance(reason, (wasi.ErrorCode_HttpRequestDenied, wasi.ErrorCode_DestinationIpProhibited)):
        return Denied(f"POST {origin(url)} is not granted: see the log of klines")
    return Error(f"POST {origin(url)}: {reason}")
