"""The contract of klines as Python classes and functions: settings, the log (`info` …), `emit`,
`exact`, `history` and `state`.

This module belongs to your project: change it as you like. componentize-py generates the package `wit_world` with the
types from `wit/v1`; the README describes how to get it for your editor.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import types as python_types
import typing
from collections.abc import Iterator, MutableMapping
from typing import Any, Generic, TypeVar

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import emit as _emit
from wit_world.imports import history as _history
from wit_world.imports import host as _host
from wit_world.imports import state as _state
from wit_world.imports.types import (
    Batch,
    Category,
    ExactKline,
    Failure,
    Failure_Fatal,
    Failure_Retry,
    Interval,
    IntervalUnit,
    Kline,
    Problem,
    Quality,
    Subscription,
)

__all__ = [
    "Batch", "Category", "Consumer", "ExactKline", "Interval", "IntervalUnit", "Kline", "NoSettings", "Problem",
    "Quality", "Refused", "Subscription", "debug", "emit", "error", "exact", "fatal", "history", "info", "interval",
    "retry", "state", "trace", "warn",
]  # fmt: skip


@dataclasses.dataclass
class NoSettings:
    """The settings of a consumer that has none."""


S = TypeVar("S")


class Consumer(exports.Consumer, Generic[S]):
    """The base class of `app.Consumer`: `class Consumer(klines.Consumer[Settings])`.

    klines calls `prepare` and `start` once, `consume` for every batch, and `stop` once. Calls never overlap. Delivery is
    at least once: the same kline can come again, with the same category, symbol, interval, start and revision.
    """

    _instance: Any = None

    def __new__(cls) -> Consumer[S]:
        # componentize-py creates an object for each call, but the attributes have to survive from call to call.
        if Consumer._instance is None:
            Consumer._instance = super().__new__(cls)
        return Consumer._instance

    def prepare(self, settings: S) -> None:
        """Is called once with valid settings, before `start`. Set your attributes here."""

    def subscription(self) -> Subscription:
        """Returns the klines to subscribe to; empty lists mean all. The operator can only restrict them further."""
        return Subscription(symbols=[], intervals=[], closed_only=True)

    def start(self) -> None:
        """Is called once, before the first batch."""

    def consume(self, batch: Batch) -> None:
        """Is called for every batch. `raise retry("…")` requests it again later, `raise fatal("…")` stops the consumer."""
        raise NotImplementedError

    def stop(self) -> None:
        """Is called once at the end, but not after a crash: flush your buffers here."""

    # klines calls these two functions before the others. You do not have to override them.

    def validate(self, settings_json: str) -> list[Problem]:
        return _read_settings(self._settings_type(), settings_json)[1]

    def setup(self, settings_json: str) -> Subscription:
        settings, problems = _read_settings(self._settings_type(), settings_json)
        if problems:
            raise fatal("; ".join(f"{p.path}: {p.message}, expected {p.expected}" for p in problems))
        self.prepare(settings)
        return self.subscription()

    @classmethod
    def _settings_type(cls) -> type:
        """Returns the type in the brackets of `klines.Consumer[…]`."""
        bases = typing.cast(Any, cls).__orig_bases__
        kinds = [kind for base in bases for kind in typing.get_args(base) if isinstance(kind, type)]
        return kinds[0] if kinds else NoSettings


# Failures


def retry(reason: str) -> Err[Failure]:
    """Raise the result if a call fails for now: klines repeats it with the same batch after a pause, until it succeeds."""
    return Err(Failure_Retry(reason))


def fatal(reason: str) -> Err[Failure]:
    """Raise the result if a call fails for good: klines stops the consumer and shows the reason to the operator."""
    return Err(Failure_Fatal(reason))


class Refused(ValueError):
    """klines refused a value; the text is the reason."""


# The log


def _log(level: _host.Level, message: str, fields: dict[str, object]) -> None:
    for name, value in fields.items():
        text = str(value)
        message += f" {name}={json.dumps(text, ensure_ascii=False) if not text or ' ' in text else text}"
    _host.log(level, message)


def trace(message: str, **fields: object) -> None:
    """Logs a line at level trace: `trace("crossed", symbol="BTCUSDT")` writes `crossed symbol=BTCUSDT`."""
    _log(_host.Level.TRACE, message, fields)


def debug(message: str, **fields: object) -> None:
    """Logs a line at level debug."""
    _log(_host.Level.DEBUG, message, fields)


def info(message: str, **fields: object) -> None:
    """Logs a line at level info."""
    _log(_host.Level.INFO, message, fields)


def warn(message: str, **fields: object) -> None:
    """Logs a line at level warn: for a fault from which the consumer recovered."""
    _log(_host.Level.WARN, message, fields)


def error(message: str, **fields: object) -> None:
    """Logs a line at level error: for a fault that an operator must act on."""
    _log(_host.Level.ERROR, message, fields)


# Klines


def exact(row: int) -> ExactKline:
    """Returns the exact digits of row `row` of the current batch: use them to store or show values, floats to compute."""
    return _host.exact(row)


def emit(row: int, name: str, value: object) -> None:
    """Emits a value of the series `name` for the kline in row `row` of the current batch: a number, or any JSON value.

    Raises `Refused` if the name is not 1 to 32 characters of `a-z 0-9 _ -`, for NaN, and if a limit is exceeded.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    published = _emit.Value_Number(float(value)) if is_number else _emit.Value_Json(json.dumps(value))
    try:
        _emit.publish(row, name, published)
    except Err as refused:
        raise Refused(refused.value) from None


def history(category: Category, symbol: str, interval: Interval, count: int, before: int = 2**63 - 1) -> list[Kline]:
    """Returns the last `count` closed klines, 1 to 1,000, whose windows start before `before`, oldest first.

    Call it in `start` or `consume`: it has everything that was delivered to this consumer, and nothing that was not. The
    list is shorter if klines has stored no more. Raises `Refused` if the consumer does not receive this symbol and
    interval, and if klines stores nothing, as in a replay.
    """
    try:
        return _history.closed(category, symbol, interval, before, count)
    except Err as refused:
        raise Refused(refused.value) from None


_UNITS = {
    IntervalUnit.MILLISECOND: "ms",
    IntervalUnit.SECOND: "s",
    IntervalUnit.MINUTE: "m",
    IntervalUnit.HOUR: "h",
    IntervalUnit.DAY: "D",
    IntervalUnit.WEEK: "W",
    IntervalUnit.MONTH: "M",
}

# With these, `f"{kline.interval}"` is `1m`, and an interval can be a key of a dict.
Interval.__str__ = lambda self: f"{self.count}{_UNITS[self.unit]}"  # type: ignore[method-assign]
Interval.__hash__ = lambda self: hash((self.count, self.unit))  # type: ignore[method-assign]


def interval(text: str) -> Interval:
    """Reads an interval such as `1m`. Use the largest unit that gives a whole number, as klines do: `1h`, not `60m`."""
    count = text.rstrip("mshDWM")
    unit = {name: unit for unit, name in _UNITS.items()}.get(text[len(count) :])
    if unit is None or not count.isdecimal() or int(count) == 0:
        raise ValueError(f"{text!r} is not an interval such as 100ms, 1s, 1m, 4h, 1D, 1W or 1M")
    return Interval(int(count), unit)


# State


class State(MutableMapping[str, Any]):
    """The state of the consumer, which survives crashes, restarts and new versions: like a dict of JSON values.

    A change is kept only if the current call succeeds.
    """

    def __getitem__(self, key: str) -> Any:
        value = _state.get(key)
        if value is None:
            raise KeyError(key)
        return json.loads(value)

    def __setitem__(self, key: str, value: Any) -> None:
        try:
            _state.set(key, json.dumps(value, ensure_ascii=False).encode())
        except Err as refused:
            raise Refused(refused.value) from None

    def __delitem__(self, key: str) -> None:
        if not _state.delete(key):
            raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(_state.list_keys(""))

    def __len__(self) -> int:
        return len(_state.list_keys(""))


state = State()


# Settings


def _read_settings(kind: type, text: str) -> tuple[Any, list[Problem]]:
    problems: list[Problem] = []
    settings = _read(kind, json.loads(text), "", problems)
    if not problems and hasattr(settings, "problems"):
        problems.extend(settings.problems())
    return settings, problems


_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def _read(kind: Any, value: Any, path: str, problems: list[Problem]) -> Any:
    """Reads a value as a type: bool, int, float, str, list, dict with str keys, optional, or a dataclass of these."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, python_types.UnionType):
        kind = next(argument for argument in arguments if argument is not type(None))
        return None if value is None else _read(kind, value, path, problems)
    if dataclasses.is_dataclass(kind):
        return _read_table(kind, value, path, problems)
    inner = f"{path}." if path else ""
    if origin is list and isinstance(value, list):
        return [_read(arguments[0], item, f"{inner}{at}", problems) for at, item in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {key: _read(arguments[1], item, f"{inner}{key}", problems) for key, item in value.items()}
    if kind is float and type(value) is int:
        return float(value)
    if kind is not Any and type(value) is not kind:
        expected = {list: "a list", dict: "a table"}.get(origin) or _NAMES.get(kind, str(kind))
        problems.append(Problem(path, f"is {json.dumps(value)}", expected))
    return value


def _read_table(kind: Any, value: Any, path: str, problems: list[Problem]) -> Any:
    if not isinstance(value, dict):
        problems.append(Problem(path, f"is {json.dumps(value)}", "a table"))
        return None
    before, inner = len(problems), f"{path}." if path else ""
    fields, hints, found = dataclasses.fields(kind), typing.get_type_hints(kind), {}
    names = [field.name for field in fields]
    for key in sorted(value.keys() - set(names)):
        near = difflib.get_close_matches(key, names, 1)
        problems.append(Problem(f"{inner}{key}", "unknown key", ", ".join(near or names) or "no key at all"))
    for field in fields:
        if field.name in value:
            found[field.name] = _read(hints[field.name], value[field.name], f"{inner}{field.name}", problems)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            problems.append(Problem(f"{inner}{field.name}", "missing key", _NAMES.get(hints[field.name], "a value")))
    return kind(**found) if len(problems) == before else None
