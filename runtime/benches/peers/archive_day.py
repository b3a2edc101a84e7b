#!/usr/bin/env python3
"""Writes a made-up day of Bybit's derivatives archive, the same for the same arguments.

usage: archive_day.py OUT.csv[.gz] [ROWS=3000000] [DAY=0]

Integers only: SplitMix64, one symbol (BTCUSDT), times that rise from the start of the day (2024-01-01 + DAY) to its end,
prices in steps of 0.1, sizes in steps of 0.001, in the columns of public.bybit.com/trading.
"""

import gzip
import sys

MASK = (1 << 64) - 1
HEADER = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional,RPI\n"
START = 1704067200  # 2024-01-01T00:00:00Z
UNITS = 864_000_000  # a day in units of 100 µs


def rows(count, day):
    state = 0x5EED_2024_0101_0002 + day

    def random():
        nonlocal state
        state = (state + 0x9E3779B97F4A7C15) & MASK
        mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
        return mixed ^ (mixed >> 31)

    price, step = 420_000 + 100 * day, UNITS // count
    for at in range(count):
        one, two, three = random(), random(), random()
        old, price = price, max(1_000, price + one % 7 - 3)
        time = (START + 86_400 * day) * 10_000 + at * UNITS // count + one // 7 % max(1, step)
        size = 1 + two % 5_000
        side, value = ("Buy", "Sell")[three & 1], size * price
        tick = "PlusTick" if price > old else "MinusTick" if price < old else "ZeroPlusTick"
        uuid = f"{two:016x}{three:016x}"
        uuid = f"{uuid[:8]}-{uuid[8:12]}-{uuid[12:16]}-{uuid[16:20]}-{uuid[20:]}"
        yield (
            f"{time // 10_000}.{time % 10_000:04d},BTCUSDT,{side},{size // 1000}.{size % 1000:03d},{price // 10}.{price % 10},"
            f"{tick},{uuid},{value * 10_000}e+0,{size // 1000}.{size % 1000:03d},{value // 10_000}.{value % 10_000:04d},0\n"
        )


def main(path, count=3_000_000, day=0):
    with (gzip.open(path, "wt", compresslevel=6) if path.endswith(".gz") else open(path, "w")) as out:
        out.write(HEADER)
        out.writelines(rows(count, day))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
