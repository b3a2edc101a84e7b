"""The csv of `klines replay` in pandas, as docs/replay.md shows it."""

import json
import subprocess
import tempfile
from decimal import Decimal
from pathlib import Path

import pandas as pd
import service
from service import ROOT

RECORDING = ROOT / "runtime/tests/fixtures/bybit-20260809.wrapped.jsonl"
COLUMNS = "symbol,start,open,high,low,close,volume,buy_volume,trades,confirm,quality"
DECIMALS = ["open", "high", "low", "close", "volume", "buy_volume"]


def replay(home, *flags):
    """Returns the standard output of a replay of the recording."""
    command = [service.program, "replay", RECORDING, "--category", "linear", "--intervals", "1s", *flags]
    return subprocess.run(command, cwd=home, check=True, capture_output=True, text=True).stdout


def csv_has_types():
    """pandas infers the documented types, and reads decimals exactly"""
    with tempfile.TemporaryDirectory(prefix="klines-") as home:
        file = Path(home, "klines.csv")
        flags = ["--header", "--decimals", "scale", "--columns", COLUMNS]
        replay(home, "--format", "csv", "--output", file, *flags)
        klines = [json.loads(line) for line in replay(home, "--format", "ndjson").splitlines()]
        frame = pd.read_csv(file)
        types = {name: str(kind) for name, kind in frame.dtypes.items()}
        expected = {name: "float64" for name in DECIMALS}
        expected |= {"symbol": "str", "quality": "str", "start": "int64", "trades": "int64", "confirm": "bool"}
        assert types == expected, types
        assert list(frame.columns) == COLUMNS.split(",")

        exact = pd.read_csv(file, converters={name: Decimal for name in DECIMALS})
        exact["start"] = pd.to_datetime(exact["start"], unit="ms", utc=True)
        assert str(exact.dtypes["start"]).startswith("datetime64"), exact.dtypes
        for name in DECIMALS:
            assert list(exact[name]) == [Decimal(kline[name]) for kline in klines], name
            digits = {value.as_tuple().exponent for value in exact[name]}
            assert len(digits) == 1, f"{name}: {digits}"
        for name in ("symbol", "trades", "confirm", "quality"):
            assert list(exact[name]) == [kline[name] for kline in klines], name
        print(f"  {len(exact)} klines of {exact['symbol'].nunique()} symbols")


TESTS = [csv_has_types]
