#!/usr/bin/env python3
"""Makes klines of 1s, 1m and 1h from an archive day with Polars, for the replay benchmark.

usage: polars_klines.py IN.csv[.gz] OUT_FOLDER

The fast form: a lazy scan that parses only the needed columns, larger intervals made from the rows of 1s, and Polars'
own threads. Prices and volumes are floats, and no trade id is looked at.
"""

import sys

import polars as pl

TYPES = {"timestamp": pl.Float64, "symbol": pl.String, "size": pl.Float64, "price": pl.Float64}


def main(path, folder):
    seconds = (
        pl.scan_csv(path, schema_overrides=TYPES)
        .group_by("symbol", pl.col("timestamp").cast(pl.Int64).alias("start"))
        .agg(
            pl.col("price").first().alias("open"),
            pl.col("price").max().alias("high"),
            pl.col("price").min().alias("low"),
            pl.col("price").last().alias("close"),
            pl.col("size").sum().alias("volume"),
            pl.len().alias("trades"),
        )
        .sort("symbol", "start")
        .collect()
    )
    seconds.write_csv(f"{folder}/1s.csv")
    for name, length in (("1m", 60), ("1h", 3_600)):
        seconds.group_by("symbol", pl.col("start") // length * length, maintain_order=True).agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("volume").sum(),
            pl.col("trades").sum(),
        ).write_csv(f"{folder}/{name}.csv")


main(*sys.argv[1:])
