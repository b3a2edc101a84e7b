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
        if wrong := http.check_url(self.url):
            yield Problem("url", wrong, "an address such as https://hooks.example.com/alerts")
        if not self.percent > 0:
            yield Problem("percent", f"is {self.percent}", "a number above 0")


class Consumer(klines.Consumer[Settings]):
    """The consumer: klines looks for a class with this name."""

    def prepare(self, settings: Settings) -> None:
        self.settings = settings

    def consume(self, batch: Batch) -> None:
        """Is called for every batch of closed klines, and sends one request for all its alerts."""
        alerts = [(kline, alert) for kline in batch.klines if (alert := self.alert(kline))]
        if not alerts:
            return
        status = self.send("\n".join(alert for _, alert in alerts), idempotency_key(alerts[0][0], len(batch.klines)))
        origin = http.origin(self.settings.url)
        if 200 <= status < 300:
            klines.info("alerts sent", count=len(alerts))
        elif status in (400, 413, 422):
            # The server rejects the text itself, and would reject it again.
            klines.error("alerts dropped, the server rejects them", count=len(alerts), status=status)
        elif 300 <= status < 400:
            raise klines.retry(f"{origin} answered {status}, and redirects are not followed")
        else:
            raise klines.retry(f"{origin} answered {status}")

    def send(self, text: str, key: str) -> int:
        headers = {"user-agent": "{{name}}", "idempotency-key": key}
        try:
            return http.post(self.settings.url, {"text": text}, headers=headers)
        except http.Denied as denied:
            raise klines.fatal(str(denied)) from None
        except http.Error as error:
            raise klines.retry(str(error)) from None

    def alert(self, kline: Kline) -> str | None:
        """Returns the text for a kline that moved far enough."""
        move = (kline.close / kline.open - 1) * 100
        # A correction of an earlier kline: an alert that was sent cannot be taken back.
        if kline.revision > 0 or abs(move) < self.settings.percent:
            return None
        return f"{kline.symbol} {kline.interval} {'rose' if move > 0 else 'fell'} {abs(move):.2f} %"


def idempotency_key(first: Kline, size: int) -> str:
    """Returns a key that is the same when the same batch is delivered again, after a failure or a restart.

    With it, the server can ignore alerts that it already has. `first` is the first kline with an alert, `size` the
    number of klines in the batch.
    """
    return f"{first.category.name.lower()}-{first.symbol}-{first.interval}-{first.start}-{size}"
