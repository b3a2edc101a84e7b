#!/usr/bin/env python3
"""Writes the inputs of the replay benchmark, the same bytes for the same arguments on every machine.

usage: inputs.py frames OUT.ndjson [TRADES=2000000]
       inputs.py archive OUT.csv[.gz] [ROWS=3000000] [DAY=0]

`frames` writes Bybit's trade frames, one per line: 200 symbols from 2024-01-01, the stream of
`runtime/tests/it/support/stream.rs`. The digest of 2,000,000 trades is checked. `archive` writes a day of Bybit's
derivatives archive in the columns of public.bybit.com/trading: BTCUSDT, times that rise from the start of the day
(2024-01-01 + DAY) to its end, prices in steps of 0.1, sizes in steps of 0.001. Integers only: SplitMix64.
"""

import gzip
import hashlib
import sys

MASK = (1 << 64) - 1
START = 1704067200  # 2024-01-01T00:00:00Z
UNITS = 864_000_000  # a day in units of 100 µs
SYMBOLS = 200
FRAMES_TRADES = 2_000_000
FRAMES_DIGEST = "ca97594d2439dfd5aba84bbfba84bb6d00cd01bf7334f23c6b58acd77ba13345"
HEADER = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional,RPI\n"


def split_mix(state):
    """Returns a function that draws the next 64 random bits."""

    def draw():
        nonlocal state
        state = (state + 0x9E3779B97F4A7C15) & MASK
        mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
        return mixed ^ (mixed >> 31)

    return draw


def tick(price, old):
    return "PlusTick" if price > old else "MinusTick" if price < old else "ZeroPlusTick"


def uuid(high, low):
    text = f"{high:016x}{low:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def decimal(units, digits):
    """Returns `units` of 10^-digits as text."""
    whole, rest = divmod(units, 10**digits)
    return f"{whole}.{rest:0{digits}d}" if digits else str(whole)


def frames(trades):
    draw, time = split_mix(0x5EED_2024_0101_0001), START * 1_000
    prices, counts = [100_000 + 997 * at for at in range(SYMBOLS)], [0] * SYMBOLS
    while trades > 0:
        gap = 1 + draw() % 150
        # The smaller of two draws, so that symbols with low numbers trade more often.
        at = min(draw() % SYMBOLS, draw() % SYMBOLS)
        symbol, rows = f"S{at:03d}USDT", min(1 + draw() % 20, trades)
        texts, traded = [], time
        for row in range(rows):
            traded, old = time + row * gap // rows, prices[at]
            price = prices[at] = max(1_000, old + draw() % 7 - 3)
            side, size = "Buy" if draw() & 1 else "Sell", 1 + draw() % 5_000
            counts[at] += 1
            texts.append(
                f'{{"T":{traded},"s":"{symbol}","S":"{side}","v":"{decimal(size, at % 4)}",'
                f'"p":"{decimal(price, 1 + at % 4)}","L":"{tick(price, old)}","i":"{uuid(draw(), draw())}",'
                f'"BT":false,"RPI":false,"seq":{counts[at]}}}'
            )
        data = ",".join(texts)
        yield f'{{"topic":"publicTrade.{symbol}","type":"snapshot","ts":{traded + 2},"data":[{data}]}}\n'
        time, trades = time + gap, trades - rows


def archive(count, day):
    draw = split_mix(0x5EED_2024_0101_0002 + day)
    price, step = 420_000 + 100 * day, UNITS // count
    yield HEADER
    for at in range(count):
        one, two, three = draw(), draw(), draw()
        old, price = price, max(1_000, price + one % 7 - 3)
        time = (START + 86_400 * day) * 10_000 + at * UNITS // count + one // 7 % max(1, step)
        size = 1 + two % 5_000
        side, value, volume = ("Buy", "Sell")[three & 1], size * price, decimal(size, 3)
        yield (
            f"{decimal(time, 4)},BTCUSDT,{side},{volume},{decimal(price, 1)},{tick(price, old)},{uuid(two, three)},"
            f"{value * 10_000}e+0,{volume},{decimal(value, 4)},0\n"
        )


def write_frames(path, trades=FRAMES_TRADES):
    digest = hashlib.sha256()
    with open(path, "wb") as out:
        for frame in frames(trades):
            line = frame.encode()
            digest.update(line)
            out.write(line)
    if trades == FRAMES_TRADES and digest.hexdigest() != FRAMES_DIGEST:
        raise SystemExit(f"{path}: sha256 {digest.hexdigest()}, expected {FRAMES_DIGEST}")


def write_archive(path, count=3_000_000, day=0):
    with gzip.open(path, "wt", compresslevel=6) if path.endswith(".gz") else open(path, "w") as out:
        out.writelines(archive(count, day))


if __name__ == "__main__":
    kind, path, *numbers = sys.argv[1:]
    {"frames": write_frames, "archive": write_archive}[kind](path, *map(int, numbers))
