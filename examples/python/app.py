"""Price alerts: logs a warning and emits `alert` each time a close crosses a level, but not again during a cooldown.

The state holds the side of each level on which the last close was, and the time of the last alert. A restart therefore
neither repeats an alert nor misses a level that was crossed in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import klines
from klines import Batch, Kline, Problem, Subscription


@dataclass
class Settings:
    """The keys of `[consumers.price-alert.settings]`. The module `klines` reports unknown keys and wrong types."""

    levels: dict[str, list[float]]
    """The price levels of each symbol."""
    interval: str = "1m"
    """The interval whose closes are compared with the levels."""
    cooldown: int = 300
    """Seconds after an alert without another alert of the same level."""

    def problems(self) -> Iterator[Problem]:
        for symbol, levels in self.levels.items():
            for at, level in enumerate(levels):
                if level <= 0:
                    yield Problem(f"levels.{symbol}.{at}", f"is {level}", "a price")
        if not 0 <= self.cooldown <= 86_400:
            yield Problem("cooldown", f"is {self.cooldown}", "seconds, from 0 to 86400")
        try:
            klines.interval(self.interval)
        except ValueError as error:
            yield Problem("interval", str(error), "an interval")


class Consumer(klines.Consumer[Settings]):
    def prepare(self, settings: Settings) -> None:
        self.levels = settings.levels
        self.cooldown = settings.cooldown * 1000
        self.interval = klines.interval(settings.interval)
        self.newest: dict[object, int] = {}

    def subscription(self) -> Subscription:
        """Subscribes to the symbols and the interval of the settings only."""
        return Subscription(symbols=list(self.levels), intervals=[self.interval], closed_only=True)

    def consume(self, batch: Batch) -> None:
        for row, kline in enumerate(batch.klines):
            # A correction of an older kline, or a kline that was delivered before, is not a new price.
            if kline.start <= self.newest.get((kline.category, kline.symbol), -1):
                continue
            self.newest[kline.category, kline.symbol] = kline.start
            for level in self.levels[kline.symbol]:
                self.watch(row, kline, level)

    def watch(self, row: int, kline: Kline, level: float) -> None:
        key = f"{kline.category.name.lower()}/{kline.symbol}/{level:g}"
        above = kline.close >= level
        known: dict[str, Any] | None = klines.state.get(key)
        if known is not None and known["above"] == above:
            return
        alerted = known["alerted"] if known else None
        if known is not None and (alerted is None or kline.end - alerted >= self.cooldown):
            direction = "up" if above else "down"
            price = klines.exact(row).close
            klines.warn(f"{kline.symbol} crossed {level:g}", direction=direction, close=price)
            klines.emit(row, "alert", {"level": level, "direction": direction, "close": price})
            alerted = kline.end
        # klines keeps this change if the call succeeds, in one transaction with the record that the batch was consumed.
        klines.state[key] = {"above": above, "alerted": alerted}
