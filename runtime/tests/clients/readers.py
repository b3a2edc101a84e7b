"""pandas, polars and ccxt read a month of stored minutes, with the very lines that docs/websocket.md shows."""

import re
import urllib.error
from datetime import datetime, timedelta, timezone

import ccxt
import pandas
import polars

from market import DAY, OTHER, SYMBOL, Market
from service import KEY, ROOT

SECTION = "## pandas, polars and ccxt\n"
DAYS = 31
MINUTE = 60_000
FIELDS = ["start", "open", "high", "low", "close", "volume", "turnover"]


def blocks():
    """Returns the Python lines of the section: of pandas, of polars, and of ccxt forward and back."""
    text = (ROOT / "docs/websocket.md").read_text()
    section = text.split(SECTION)[1].split("\n## ")[0]
    found = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(found) == 4, f"{len(found)} blocks"
    return found


def typed(block, klines, key=KEY, symbol=SYMBOL, names=None):
    """Runs lines as a user does who has put in an address, a key (None: no header), a symbol and days; returns their names."""
    first = datetime.fromtimestamp(klines.oldest / 1_000, timezone.utc)
    after = first + timedelta(days=DAYS)
    login = "{}" if key is None else f'{{"Authorization": "Bearer {key}"}}'
    user_has = {"localhost:9500": f"127.0.0.1:{klines.port}", '{"Authorization": "Bearer KEY"}': login, "BTCUSDT": symbol,
                "BTC/USDT:USDT": f"{symbol.removesuffix('USDT')}/USDT:USDT",
                "2024-01-01": first.strftime("%Y-%m-%d"), "2024-02-01": after.strftime("%Y-%m-%d")}
    for text, own in user_has.items():
        block = block.replace(text, own)
    names = {} if names is None else names
    exec(compile(block, "docs/websocket.md", "exec"), names)
    return names


def numbers(rows):
    """Returns rows of the exchange as numbers."""
    return [[int(row[0]), *map(float, row[1:])] for row in rows]


def month(market, klines):
    """Returns the month as the exchange itself has it, and checks that it has every minute."""
    candles = numbers(market.candles(SYMBOL, klines.oldest, klines.oldest + DAYS * DAY))
    assert [row[0] for row in candles] == [klines.oldest + at * MINUTE for at in range(DAYS * 1_440)]
    return candles


def frames(market, stored, candles):
    """Both libraries return every minute once, in order, with the exchange's numbers."""
    for name, block in zip(["pandas", "polars"], blocks()):
        frame = typed(block, stored)["klines"]
        rows = frame[FIELDS].values.tolist() if name == "pandas" else [list(row) for row in frame.select(FIELDS).iter_rows()]
        assert rows == candles, f"{name}: {len(rows)} rows, first {rows[:1]}, of {len(candles)}"
        qualities = set(frame["quality"].unique())
        assert qualities == {"repaired"}, qualities
        print(f"  {name} {(pandas if name == 'pandas' else polars).__version__}: {len(rows):,} minutes")


def candlesticks(stored, candles):
    """ccxt returns them forward, with those that the run has made since, and back."""
    _, _, forward, back = blocks()
    names = typed(forward, stored)
    seen = names["candles"]
    assert [row[0] for row in seen] == [stored.oldest + at * MINUTE for at in range(len(seen))]
    assert len(seen) > len(candles) and seen[: len(candles)] == [row[:6] for row in candles]
    print(f"  ccxt {ccxt.__version__}: {len(seen):,} minutes forward")
    typed(back, stored, names=names)
    assert names["candles"] == [row[:6] for row in candles], f"{len(names['candles'])} minutes back"


def refused(error, run, *words):
    """Asserts that lines end with an error that contains these words."""
    try:
        run()
    except error as seen:
        body = seen.read().decode() if isinstance(seen, urllib.error.HTTPError) else ""
        assert all(word in f"{seen} {body}" for word in words), f"{seen} {body}"
        return
    raise AssertionError(f"no {error}")


def month_is_whole():
    """pandas, polars and ccxt read a month of stored minutes, each once and as the exchange has it"""
    with Market() as market, market.run("readers", days=DAYS) as stored:
        candles = month(market, stored)
        frames(market, stored, candles)
        candlesticks(stored, candles)


def refusals_are_errors():
    """a wrong key and an unknown symbol are errors in each library; a server without log-in needs no header"""
    pandas_lines, polars_lines, forward, _ = blocks()
    http = urllib.error.HTTPError
    with Market() as market:
        with market.run("readers-refused", days=2) as stored:
            for lines, error in [(pandas_lines, http), (polars_lines, http), (forward, ccxt.AuthenticationError)]:
                refused(error, lambda: typed(lines, stored, key="not-the-key"), "401")
        with market.run("readers-open", days=2, websocket="auth = false") as stored:
            for lines in (pandas_lines, polars_lines):
                wrong = lambda: typed(lines, stored, key=None, symbol="BTCUSDTX")
                refused(http, wrong, "400", "symbol `BTCUSDTX` of linear is not watched here: did you mean `BTCUSDT`?")
                assert len(typed(lines, stored, key=None)["klines"]) >= 2 * 1_440
            refused(ccxt.BadSymbol, lambda: typed(forward, stored, key=None, symbol="XUSDT"), "does not have market symbol")
            candles = typed(forward, stored, key=None, symbol=OTHER)["candles"]
            assert all(after[0] - before[0] == MINUTE for before, after in zip(candles, candles[1:])), candles


TESTS = [month_is_whole, refusals_are_errors]
