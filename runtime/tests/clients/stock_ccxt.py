"""The unmodified ccxt.pro, with addresses and headers set by its own options."""

import asyncio

import ccxt.pro

from cutter import Cutter
from service import KEY, PATIENCE, Klines

SYMBOL = "BTC/USDT:USDT"


def exchange(port):
    """Returns a ccxt with the address of the server, and its key in a header."""
    login = {"Authorization": f"Bearer {KEY}"}
    client = ccxt.pro.bybit({"headers": login, "options": {"ws": {"options": {"headers": login}}}})
    client.urls["api"]["public"] = f"http://127.0.0.1:{port}"
    for category in client.urls["api"]["ws"]["public"]:
        client.urls["api"]["ws"]["public"][category] = f"ws://127.0.0.1:{port}/v5/public/{category}"
    return client


async def watch(client):
    """Waits for the newest candles and checks them."""
    candles = await asyncio.wait_for(client.watch_ohlcv(SYMBOL, "1m"), PATIENCE)
    assert candles and all(len(candle) == 6 and candle[0] % 60_000 == 0 for candle in candles), candles
    return candles


async def converse(port):
    cutter = Cutter(port)
    client = exchange(cutter.port)
    try:
        print(f"  watch_ohlcv  {(await watch(client))[-1]}")
        await watch(client)

        before = cutter.accepted
        assert cutter.cut() >= 1
        while True:
            try:
                await watch(client)
                # Candles that were already received prove nothing: a new connection with new ones does.
                if cutter.accepted > before:
                    await watch(client)
                    break
            except ccxt.NetworkError as error:
                print(f"  reset: {type(error).__name__}, and the next call subscribes again")
        print("  and receives again")

        await asyncio.wait_for(client.un_watch_ohlcv(SYMBOL, "1m"), PATIENCE)
        print("  un_watch_ohlcv: acknowledged")

        candles = await asyncio.wait_for(client.fetch_ohlcv(SYMBOL, "1m", limit=5), PATIENCE)
        assert 1 <= len(candles) <= 5 and candles == sorted(candles), candles
        assert all(len(candle) == 6 and candle[2] >= candle[3] > 0 for candle in candles), candles
        print(f"  fetch_ohlcv  {candles}")
    finally:
        await client.close()


def stock():
    """ccxt.pro watches, resubscribes, unwatches and fetches"""
    with Klines("ccxt") as klines:
        asyncio.run(asyncio.wait_for(converse(klines.port), 4 * PATIENCE))


TESTS = [stock]
