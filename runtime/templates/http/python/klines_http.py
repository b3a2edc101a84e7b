"""Blocking HTTP requests: `http.post(url, value)`.

This module belongs to your project: change it as you like. `http = true` in `consumer.toml` generates the modules
`wit_world.imports.outgoing_handler` and `http_types`, which have the other methods of `wasi:http` too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import urlsplit

from componentize_py_types import Err
from wit_world.imports import http_types as wasi
from wit_world.imports import outgoing_handler


class Error(Exception):
    """There is no response; the text is the reason."""


class Denied(Error):
    """The operator has not granted the request. The log of klines shows the line that would grant it."""


def post(url: str, value: object, headers: Mapping[str, str] = {}, timeout: float = 0.4) -> int:
    """Posts a value as JSON, waits for the response, and returns its status.

    `timeout` is in seconds, for the connection and again for the response: a call of a consumer may take 1 s in all.
    Do not put secrets into `headers`: the operator names them in `allow.secrets`, and klines adds them to the request.
    """
    body = json.dumps(value).encode()
    own = [("content-type", "application/json"), ("content-length", str(len(body))), *headers.items()]
    to = urlsplit(url)
    try:
        request = wasi.OutgoingRequest(wasi.Fields.from_list([(name, text.encode()) for name, text in own]))
        request.set_method(wasi.Method_Post())
        request.set_scheme(wasi.Scheme_Http() if to.scheme == "http" else wasi.Scheme_Https())
        request.set_authority(to.netloc)
        request.set_path_with_query((to.path or "/") + (f"?{to.query}" if to.query else ""))
        options = wasi.RequestOptions()
        options.set_connect_timeout(int(timeout * 1e9))
        options.set_first_byte_timeout(int(timeout * 1e9))
        outgoing = request.body()
        with outgoing_handler.handle(request, options) as pending:
            _write(outgoing, body)
            with pending.subscribe() as ready:
                ready.block()
            return _status(pending)
    except Err as failed:
        raise _error(url, failed.value) from None


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
        return Denied(f"POST {url} is not granted: see the log of klines")
    return Error(f"POST {url}: {reason}")
