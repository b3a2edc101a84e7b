#!/usr/bin/env python3
"""Prints the confirmed klines, and the values that consumers emit, of the topics on its command line.

Needs `pip install websockets`. After a disconnect it resumes at the last message that it received, so that no message is
missed or repeated.
"""

import json
import os
import sys
import time
from datetime import datetime, timezone

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

URL = os.environ.get("KLINES_URL", "ws://127.0.0.1:9500/v1/stream")
KEY = os.environ["KLINES_KEY"]
TOPICS = sys.argv[1:] or ["kline.1m.BTCUSDT"]

# The position of the last message, by topic: {"epoch": …, "seq": …}.
since: dict[str, dict[str, object]] = {}


def take(message: dict) -> None:
    """Handles one message of the server."""
    match message.get("type") or message.get("op"):
        case "kline" | "value":
            data = message["data"]
            # Updates of an open window already have the number of its closed kline, so they do not count as received.
            if data["confirm"]:
                since[message["topic"]] = {"epoch": message["epoch"], "seq": message["seq"]}
                value = data["close"] if message["type"] == "kline" else json.dumps(data["value"])
                print(message["topic"], message["seq"], value, flush=True)
        case "snapshot":
            since[message["topic"]] = {"epoch": message["epoch"], "seq": message["seq"]}
        case "status":
            # The state of the connection to the exchange. Without it, no klines arrive, so only this message can show
            # it.
            for feed in message["feeds"]:
                when = datetime.fromtimestamp(feed["since"] / 1000, timezone.utc).isoformat(timespec="seconds")
                print(f"{feed['category']} is {feed['state']} since {when}", file=sys.stderr, flush=True)
        case "subscribe" if not message["ok"]:
            sys.exit(f"{message.get('topic', '')}: {message['error']}")
        case "subscribe":
            for topic, state in message["topics"].items():
                if state.get("recovered") is False:
                    print(f"{topic}: the messages since the disconnect are lost", file=sys.stderr)
                elif topic in since and since[topic]["seq"] == state["seq"]:
                    # Nothing was missed, and after a crash of the server the position has another epoch.
                    since[topic] = {"epoch": state["epoch"], "seq": state["seq"]}


def follow() -> None:
    """Connects, subscribes to the topics and prints their messages until the connection ends."""
    with connect(URL, additional_headers={"Authorization": f"Bearer {KEY}"}) as stream:
        stream.send(json.dumps({"op": "subscribe", "topics": TOPICS, "since": since}))
        for text in stream:
            take(json.loads(text))


while True:
    try:
        follow()
        reason = "closed"
    except ConnectionClosed as closed:
        # Codes 3500 to 3999 mean that the client must not reconnect.
        if closed.rcvd and closed.rcvd.code >= 3500:
            sys.exit(f"refused: {closed.rcvd.code} {closed.rcvd.reason}")
        reason = str(closed)
    except InvalidStatus as refused:
        if refused.response.status_code in (401, 403):
            sys.exit("the key is wrong")
        reason = str(refused)
    except OSError as error:
        reason = str(error)
    print(f"not connected ({reason}); trying again", file=sys.stderr, flush=True)
    time.sleep(1)
