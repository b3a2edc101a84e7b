#!/usr/bin/env python3
"""Makes klines of 1s, 1m and 1h from an archive day with DuckDB, for the replay benchmark.

usage: duckdb_klines.py IN.csv[.gz] OUT_FOLDER

The fast form: the columns' types are given, only the needed columns are kept, larger intervals are made from the rows
of 1s, and DuckDB uses its own threads. Prices and volumes are floats, and no trade id is looked at.
"""

import sys

import duckdb

COLUMNS = """{timestamp: 'DOUBLE', symbol: 'VARCHAR', side: 'VARCHAR', size: 'DOUBLE', price: 'DOUBLE',
    tickDirection: 'VARCHAR', trdMatchID: 'VARCHAR', grossValue: 'VARCHAR', homeNotional: 'VARCHAR',
    foreignNotional: 'VARCHAR', RPI: 'VARCHAR'}"""


def main(path, folder):
    database = duckdb.connect()
    database.execute(f"""
        CREATE TABLE seconds AS
        SELECT symbol, floor(timestamp)::BIGINT AS start, arg_min(price, timestamp) AS open, max(price) AS high,
            min(price) AS low, arg_max(price, timestamp) AS close, sum(size) AS volume, count(*) AS trades
        FROM read_csv('{path}', header = true, delim = ',', auto_detect = false, columns = {COLUMNS})
        GROUP BY ALL""")
    database.execute(f"COPY (FROM seconds ORDER BY symbol, start) TO '{folder}/1s.csv' (HEADER)")
    for name, seconds in (("1m", 60), ("1h", 3_600)):
        database.execute(f"""
            COPY (
                SELECT symbol, start // {seconds} * {seconds} AS start, arg_min(open, seconds.start) AS open,
                    max(high) AS high, min(low) AS low, arg_max(close, seconds.start) AS close, sum(volume) AS volume,
                    sum(trades) AS trades
                FROM seconds GROUP BY symbol, seconds.start // {seconds} ORDER BY symbol, 2
            ) TO '{folder}/{name}.csv' (HEADER)""")


main(*sys.argv[1:])
