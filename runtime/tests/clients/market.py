"""A simulated exchange whose REST klines have a past, and runs against it whose store has some days of it."""

import json
import re
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from datetime import datetime, timedelta, timezone

import service
from service import LOGS, PATIENCE, Klines, eventually

DAY = 86_400_000
SYMBOL, OTHER = "BTCUSDT", "ETHUSDT"


class Market:
    """`klines simulate`, on a port that the system chooses."""

    def __init__(self):
        LOGS.mkdir(parents=True, exist_ok=True)
        self.log_file = LOGS / "market.log"
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen([service.program, "simulate", "--listen", "127.0.0.1:0"], cwd=LOGS,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.port = eventually("the address of the simulated exchange", self._port)

    def _port(self):
        assert self.process.poll() is None, f"klines simulate ended with {self.process.returncode}"
        found = re.search(r"listens on 127\.0\.0\.1:(\d+)", self.log_file.read_text())
        return found and int(found[1])

    def run(self, name, days=0, websocket="", store=True):
        """Starts a run that watches two symbols; its store has the last whole days of the minutes of the first one."""
        first = (datetime.now(timezone.utc) - timedelta(days=days)).date()
        backfill = ["backfill", SYMBOL, "--from", str(first), "--intervals", "1m", "--config", "klines.toml"]
        configuration = f"""
[exchange]
ws_url = "ws://127.0.0.1:{self.port}"
rest_url = "http://127.0.0.1:{self.port}"
symbols = ["{SYMBOL}", "{OTHER}"]

[klines]
intervals = ["1s", "1m"]

[websocket]
{websocket}

[store]
enabled = {str(store).lower()}
retain = {{ "1m" = "90d" }}
"""
        klines = Klines(name, configuration=configuration, before=[backfill] if days else [])
        klines.oldest = int(datetime(first.year, first.month, first.day, tzinfo=timezone.utc).timestamp()) * 1_000
        return klines

    def candles(self, symbol, start, end):
        """Returns the exchange's own minutes from `start` up to `end`, oldest first, each as the texts of its row."""
        rows = []
        while start < end:
            page_end = min(end, start + 1_000 * 60_000) - 1
            query = {"category": "linear", "symbol": symbol, "interval": 1, "start": start, "end": page_end, "limit": 1_000}
            address = f"http://127.0.0.1:{self.port}/v5/market/kline?{urllib.parse.urlencode(query)}"
            with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
                answered = json.load(answer)
            if answered["retCode"] == 10_006:
                time.sleep(1)
                continue
            assert answered["retCode"] == 0, answered
            rows += reversed(answered["result"]["list"])
            start = page_end + 1
        return rows

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)
