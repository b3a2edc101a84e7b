"""Emits the moving average of the closes for every closed kline, and logs when the close crosses the average."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import klines
from klines import Batch, Kline, Problem


@dataclass
class Settings:
    """The keys of `[consumers.NAME.settings]`. The module `klines` reports unknown keys and wrong types to the operator."""

    period: int = 5
    """The number of klines in the average."""

    def problems(self) -> Iterator[Problem]:
        """Returns the errors that the types do not exclude; `klines check` shows them to the operator."""
        if not 2 <= self.period <= 1000:
            yield Problem("period", f"is {self.period}", "a whole number from 2 to 1000")


class Average:
    """The last closes of one symbol and interval."""

    def __init__(self, period: int) -> None:
        self.closes: deque[float] = deque(maxlen=period)
        self.newest = -1
        self.above: bool | None = None

    def add(self, kline: Kline) -> float | None:
        """Adds a closed kline; returns the average once there are `period` of them."""
        # A correction of an older kline, or a kline that was delivered before: it is in the average already.
        if kline.start <= self.newest:
            return None
        self.newest = kline.start
        self.closes.append(kline.close)
        if len(self.closes) < (self.closes.maxlen or 0):
            return None
        return sum(self.closes) / len(self.closes)


class Consumer(klines.Consumer[Settings]):
    """The consumer: klines looks for a class with this name."""

    def prepare(self, settings: Settings) -> None:
        self.period = settings.period
        self.averages: dict[tuple[object, ...], Average] = {}
        klines.info("averaging closes", period=settings.period)

    def consume(self, batch: Batch) -> None:
        """Is called for every batch of closed klines. (A method `subscription` can select other klines.)"""
        for row, kline in enumerate(batch.klines):
            key = (kline.category, kline.symbol, kline.interval)
            average = self.averages.setdefault(key, Average(self.period))
            sma = average.add(kline)
            if sma is None:
                continue
            # Clients of `/v1/stream` receive it on the topic `ext.{{name}}.sma.INTERVAL.SYMBOL`.
            klines.emit(row, "sma", sma)
            above = kline.close > sma
            if average.above is not None and above != average.above:
                direction = "above" if above else "below"
                klines.info(
                    f"{kline.symbol} {kline.interval} closed {direction} its average", close=kline.close, sma=f"{sma:.4f}"
                )
            average.above = above
