#!/usr/bin/env node
// Prints confirmed klines, and values that consumers emit, of the topics on its command line.
//
// Needs nothing but Node.js: 22 has WebSocket by itself, 20 with `node --experimental-websocket`. After a cut it resumes
// where it was: nothing is missed, nothing comes twice. The same code runs in a browser, but for `process`.

const url = process.env.KLINES_URL ?? "ws://127.0.0.1:9500/v1/stream";
const user = process.env.KLINES_USER ?? "me";
const key = process.env.KLINES_KEY;
const topics = process.argv.slice(2).length > 0 ? process.argv.slice(2) : ["kline.1m.BTCUSDT"];

if (!key || typeof WebSocket === "undefined") {
  console.error(key ? "start it with node --experimental-websocket" : "set KLINES_KEY (and KLINES_USER)");
  process.exit(2);
}

/** By topic, the last number that was seen: `{ epoch, seq }`. */
const since = {};

function take({ type, op, topic, epoch, seq, data, ok, error, topics, feeds }) {
  switch (type ?? op) {
    case "kline":
    case "value":
      // An open window's updates carry the number that its closed kline will have.
      if (!data.confirm) return;
      since[topic] = { epoch, seq };
      console.log(topic, seq, type === "kline" ? data.close : JSON.stringify(data.value));
      return;
    case "snapshot":
      since[topic] = { epoch, seq };
      return;
    case "status":
      // Whether the exchange is heard: klines cannot say it, since there are none when it is not.
      for (const feed of feeds) console.error(`${feed.category} is ${feed.state} since ${new Date(feed.since).toISOString()}`);
      return;
    case "subscribe":
      if (!ok) quit(`${topic ?? ""}: ${error}`);
      for (const [name, state] of Object.entries(topics)) {
        if (state.recovered === false) console.error(`${name}: what came meanwhile is gone`);
      }
  }
}

function follow() {
  const stream = new WebSocket(url);
  // A browser cannot set headers, so the first message carries the key.
  stream.onopen = () => {
    stream.send(JSON.stringify({ op: "auth", user, key }));
    stream.send(JSON.stringify({ op: "subscribe", topics, since }));
  };
  stream.onmessage = ({ data }) => take(JSON.parse(data));
  stream.onclose = ({ code, reason }) => {
    // 3500 to 3999: the server says that trying again is no use.
    if (code >= 3500 && code < 4000) quit(`refused: ${code} ${reason}`);
    console.error(`not connected (${code} ${reason}); trying again`);
    setTimeout(follow, 1000);
  };
  // `close` follows and says the same.
  stream.onerror = () => {};
}

function quit(reason) {
  console.error(reason);
  process.exit(1);
}

follow();
