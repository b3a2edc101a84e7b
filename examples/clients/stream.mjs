#!/usr/bin/env node
// Prints the confirmed klines, and the values that consumers emit, of the topics on its command line.
//
// Needs only Node.js: version 22 has a WebSocket client, version 20 with `node --experimental-websocket`. After a
// disconnect it resumes at the last message that it received, so that no message is missed or repeated. Apart from
// `process`, the same code runs in a browser.

const url = process.env.KLINES_URL ?? "ws://127.0.0.1:9500/v1/stream";
const user = process.env.KLINES_USER ?? "me";
const key = process.env.KLINES_KEY;
const topics = process.argv.slice(2).length > 0 ? process.argv.slice(2) : ["kline.1m.BTCUSDT"];

if (!key || typeof WebSocket === "undefined") {
  console.error(key ? "start it with node --experimental-websocket" : "set KLINES_KEY (and KLINES_USER)");
  process.exit(2);
}

/** The position of the last message, by topic: `{ epoch, seq }`. */
const since = {};

/** Handles one message of the server. */
function take({ type, op, topic, epoch, seq, data, ok, error, topics, feeds }) {
  switch (type ?? op) {
    case "kline":
    case "value":
      // Updates of an open window already have the number of its closed kline, so they do not count as received.
      if (!data.confirm) return;
      since[topic] = { epoch, seq };
      console.log(topic, seq, type === "kline" ? data.close : JSON.stringify(data.value));
      return;
    case "snapshot":
      since[topic] = { epoch, seq };
      return;
    case "status":
      // The state of the connection to the exchange. Without it, no klines arrive, so only this message can show it.
      for (const feed of feeds) console.error(`${feed.category} is ${feed.state} since ${new Date(feed.since).toISOString()}`);
      return;
    case "subscribe":
      if (!ok) quit(`${topic ?? ""}: ${error}`);
      for (const [name, state] of Object.entries(topics)) {
        if (state.recovered === false) console.error(`${name}: the messages since the disconnect are lost`);
        // Nothing was missed, and after a crash of the server the position has another epoch.
        else if (since[name]?.seq === state.seq) since[name] = { epoch: state.epoch, seq: state.seq };
      }
  }
}

/** Connects and subscribes; connects again after a disconnect. */
function follow() {
  const stream = new WebSocket(url);
  // A browser cannot set headers, so the first message contains the key.
  stream.onopen = () => {
    stream.send(JSON.stringify({ op: "auth", user, key }));
    stream.send(JSON.stringify({ op: "subscribe", topics, since }));
  };
  stream.onmessage = ({ data }) => take(JSON.parse(data));
  stream.onclose = ({ code, reason }) => {
    // Codes 3500 to 3999 mean that the client must not reconnect.
    if (code >= 3500 && code < 4000) quit(`refused: ${code} ${reason}`);
    console.error(`not connected (${code} ${reason}); trying again`);
    setTimeout(follow, 1000);
  };
  // The event `close` follows with the reason.
  stream.onerror = () => {};
}

function quit(reason) {
  console.error(reason);
  process.exit(1);
}

follow();
