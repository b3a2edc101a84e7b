"""Price alerts: logs a warning and emits `alert` when a close crosses a level, once a crossing and not again for a while.

On which side of a level a price was, and when an alert was given, is kept in the state: a restart neither repeats an alert
nor misses a crossing that happened meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import klines
from klines import Batch, Kline, Problem, Subscription


@dataclass
class Settings:
    """What the operator may write under `[consumers.price-alert.settings]`. Unknown keys and wrong types are refused."""

    levels: dict[str, list[float]]
    """Prices to watch, by symbol."""
    interval: str = "1m"
    """The interval whose closes are watched."""
    cooldown: int = 300
    """Seconds after an alert in which the same level gives none."""

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
        """Only what is watched: nothing else is handed over."""
        return Subscription(symbols=list(self.levels), intervals=[self.interval], closed_only=True)

    def consume(self, batch: Batch) -> None:
        for row, kline in enumerate(batch.klines):
            # A correction is not an alert: the price that it corrects is gone.
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
        # Kept if this call succeeds, together with the record that these klines were taken.
        klines.state[key] = {"above": above, "alerted": alerted}
