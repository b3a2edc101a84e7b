"""A moving average of closes: emits it for every closed kline, and logs when the close crosses it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import klines
from klines import Batch, Kline, Problem


@dataclass
class Settings:
    """What the operator may write under `[consumers.NAME.settings]`. Unknown keys and wrong types are refused for you."""

    period: int = 5
    """The number of klines that the average looks back on."""

    def problems(self) -> Iterator[Problem]:
        """What types cannot say; `klines check` shows it."""
        if not 2 <= self.period <= 1000:
            yield Problem("period", f"is {self.period}", "a whole number from 2 to 1000")


class Average:
    """The last closes of one symbol and interval."""

    def __init__(self, period: int) -> None:
        self.closes: deque[float] = deque(maxlen=period)
        self.newest = -1
        self.above: bool | None = None

    def add(self, kline: Kline) -> float | None:
        """Takes a closed kline; returns the average once there are enough of them."""
        # A correction of an older kline, or one that was delivered before: it is in the average already.
        if kline.start <= self.newest:
            return None
        self.newest = kline.start
        self.closes.append(kline.close)
        if len(self.closes) < (self.closes.maxlen or 0):
            return None
        return sum(self.closes) / len(self.closes)


class Consumer(klines.Consumer[Settings]):
    """The runtime looks for a class of this name."""

    def prepare(self, settings: Settings) -> None:
        self.period = settings.period
        self.averages: dict[tuple[object, ...], Average] = {}
        klines.info("averaging closes", period=settings.period)

    def consume(self, batch: Batch) -> None:
        """Takes one batch of closed klines (what it gets unless `subscription` says otherwise)."""
        for row, kline in enumerate(batch.klines):
            key = (kline.category, kline.symbol, kline.interval)
            average = self.averages.setdefault(key, Average(self.period))
            sma = average.add(kline)
            if sma is None:
                continue
            # Clients find it as `ext.{{name}}.sma.INTERVAL.SYMBOL` on `/v1/stream`.
            klines.emit(row, "sma", sma)
            above = kline.close > sma
            if average.above is not None and above != average.above:
                direction = "above" if above else "below"
                klines.info(
                    f"{kline.symbol} {kline.interval} closed {direction} its average", close=kline.close, sma=f"{sma:.4f}"
                )
            average.above = above
