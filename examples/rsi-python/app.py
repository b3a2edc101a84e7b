"""The relative strength index of the closes, right from the first batch: it reads the closes before it in `start`.

Gains and losses have equal weights (Cutler's RSI), so that a value depends on the last `period` + 1 closes alone: an
instance that has just started and one that has run for days emit the same values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import klines
from klines import Batch, Category, Kline, Problem, Subscription

SPARE = 10
"""The closes that are kept in addition, for corrections of older klines."""


@dataclass
class Settings:
    """The keys of `[consumers.rsi.settings]`. The module `klines` reports unknown keys and wrong types."""

    symbols: list[str]
    """The symbols whose index is emitted."""
    intervals: list[str] = field(default_factory=lambda: ["1m"])
    """The intervals."""
    period: int = 14
    """The number of changes in the index."""

    def problems(self) -> Iterator[Problem]:
        if not self.symbols:
            yield Problem("symbols", "is empty", "at least one symbol")
        if not 2 <= self.period <= 500:
            yield Problem("period", f"is {self.period}", "a whole number from 2 to 500")
        for at, text in enumerate(self.intervals):
            try:
                klines.interval(text)
            except ValueError as error:
                yield Problem(f"intervals.{at}", str(error), "an interval")


class Closes:
    """The last closes of one series, by the start of their window."""

    def __init__(self, period: int) -> None:
        self.period = period
        self.by_start: dict[int, float] = {}

    def add(self, kline: Kline) -> None:
        """Adds or corrects a close."""
        self.by_start[kline.start] = kline.close
        while len(self.by_start) > self.period + 1 + SPARE:
            del self.by_start[min(self.by_start)]

    def rsi(self, start: int) -> float | None:
        """Returns the index at the window that starts at `start`; None if there are too few closes before it."""
        closes = [self.by_start[at] for at in sorted(self.by_start) if at <= start][-self.period - 1 :]
        if len(closes) <= self.period:
            return None
        gains = losses = 0.0
        for before, close in zip(closes, closes[1:]):
            gains += max(close - before, 0.0)
            losses += max(before - close, 0.0)
        moved = gains + losses
        # Without a change the index is neutral.
        return 100.0 * gains / moved if moved > 0.0 else 50.0


class Consumer(klines.Consumer[Settings]):
    def prepare(self, settings: Settings) -> None:
        self.symbols = settings.symbols
        self.intervals = [klines.interval(text) for text in settings.intervals]
        self.period = settings.period
        self.series: dict[tuple[object, ...], Closes] = {}

    def subscription(self) -> Subscription:
        return Subscription(symbols=self.symbols, intervals=self.intervals, closed_only=True)

    def start(self) -> None:
        """Reads the closes that were there before this instance."""
        count = 0
        try:
            for symbol in self.symbols:
                for interval in self.intervals:
                    for category in (Category.LINEAR, Category.SPOT, Category.INVERSE):
                        for kline in klines.history(category, symbol, interval, self.period + 1 + SPARE):
                            self.closes(kline).add(kline)
                            count += 1
        except klines.Refused as reason:
            # In a demo and in a replay there is no past: the index begins when there are enough klines.
            klines.warn("begins without the past", reason=reason)
            return
        klines.info("read the past", closes=count)

    def consume(self, batch: Batch) -> None:
        for row, kline in enumerate(batch.klines):
            closes = self.closes(kline)
            closes.add(kline)
            rsi = closes.rsi(kline.start)
            if rsi is not None:
                # Clients of `/v1/stream` receive it on the topic `ext.rsi.rsi.INTERVAL.SYMBOL`.
                klines.emit(row, "rsi", rsi)

    def closes(self, kline: Kline) -> Closes:
        """Returns the closes of the series of a kline."""
        return self.series.setdefault((kline.category, kline.symbol, kline.interval), Closes(self.period))
