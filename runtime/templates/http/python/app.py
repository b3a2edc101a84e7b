"""Posts an alert to a webhook when a closed kline has moved far."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import klines
import klines_http as http
from klines import Batch, Kline, Problem


@dataclass
class Settings:
    """The keys of `[consumers.NAME.settings]`. The module `klines` reports unknown keys and wrong types to the operator."""

    url: str
    """Where alerts are posted. The operator also grants its host, and names the secret for it, in `allow`."""
    percent: float = 1.0
    """The smallest move from the open to the close that causes an alert."""

    def problems(self) -> Iterator[Problem]:
        """Returns the errors that the types do not exclude; `klines check` shows them to the operator."""
        if self.percent <= 0:
            yield Problem("percent", f"is {self.percent}", "a number above 0")


class Consumer(klines.Consumer[Settings]):
    """The consumer: klines looks for a class with this name."""

    def prepare(self, settings: Settings) -> None:
        self.settings = settings

    def consume(self, batch: Batch) -> None:
        """Is called for every batch of closed klines, and sends one request for all its alerts."""
        alerts = [alert for kline in batch.klines if (alert := self.alert(kline))]
        if not alerts:
            return
        try:
            status = http.post(self.settings.url, {"text": "\n".join(alerts)}, headers={"user-agent": "{{name}}"})
        except http.Denied as denied:
            raise klines.fatal(str(denied)) from None
        except http.Error as error:
            raise klines.retry(str(error)) from None
        if status >= 300:
            raise klines.retry(f"{self.settings.url} answered {status}")
        klines.info("alerts sent", count=len(alerts))

    def alert(self, kline: Kline) -> str | None:
        """Returns the text for a kline that moved far enough."""
        move = (kline.close / kline.open - 1) * 100
        # A correction of an earlier kline: an alert that was sent cannot be taken back.
        if kline.revision > 0 or abs(move) < self.settings.percent:
            return None
        return f"{kline.symbol} {kline.interval} {'rose' if move > 0 else 'fell'} {abs(move):.2f} %"
