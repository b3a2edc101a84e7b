// What the tests of the chart page share: a browser, a proxy that cuts connections, and waiting.
//
// Takes BASE_URL (the server's http or https address), USER and KEY (its credentials), for tests that need a server, and
// CHROMIUM (default /usr/bin/chromium) from the environment. Finds playwright-core in target/clients or along NODE_PATH.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import net from "node:net";

const require = createRequire(new URL("../../../target/clients/package.json", import.meta.url));
const { chromium } = require("playwright-core");

export const WAIT = 30_000;
export const { BASE_URL, USER, KEY } = process.env;

/** Returns the address of a module of the page, to import it. */
export const source = (name) => new URL(`../../crates/websocket/src/page/${name}`, import.meta.url);

export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      ...["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
      ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
    ],
  });

/** Forwards bytes to the server until it is cut: then it resets open connections and refuses new ones. */
export class Proxy {
  #pairs = new Set();
  #port = 0;

  constructor({ hostname, port, protocol }) {
    const upstream = { host: hostname.replace(/^\[|\]$/g, ""), port: Number(port || (protocol === "https:" ? 443 : 80)) };
    this.server = net.createServer((near) => {
      const far = net.connect(upstream);
      const pair = [near, far];
      this.#pairs.add(pair);
      for (const [from, to] of [pair, [far, near]]) {
        from.on("error", () => to.destroy());
        from.on("close", () => this.#pairs.delete(pair) && to.destroy());
        from.pipe(to);
      }
    });
  }

  /** Listens; the second time on the same port as the first. */
  async open() {
    await new Promise((listening) => this.server.listen(this.#port, "localhost", listening));
    this.#port = this.server.address().port;
    return this.#port;
  }

  async cut() {
    const closed = new Promise((done) => this.server.close(done));
    for (const [near, far] of this.#pairs) {
      near.resetAndDestroy();
      far.destroy();
    }
    await closed;
  }
}

/** Records the frames of one WebSocket of the page, parsed. */
export function record(socket) {
  const frames = { sent: [], received: [] };
  socket.on("framesent", ({ payload }) => frames.sent.push(JSON.parse(payload)));
  socket.on("framereceived", ({ payload }) => frames.received.push(JSON.parse(payload)));
  return frames;
}

export async function eventually(what, probe, patience = WAIT) {
  const deadline = Date.now() + patience;
  for (;;) {
    const seen = await probe();
    if (seen) return seen;
    assert.ok(Date.now() < deadline, `never seen: ${what}`);
    await new Promise((next) => setTimeout(next, 50));
  }
}

export async function promise(text, keep) {
  await keep();
  console.log(`ok - ${text}`);
}

/** Returns a kline of one minute that a scripted server sends. */
export const made = (minute, more) => ({
  ...{ category: "spot", symbol: "AUSDT", interval: "1m", start: minute * 60_000, end: minute * 60_000 + 59_999 },
  ...{ open: "0.00000012", high: "0.0000002", low: "0.00000012", close: "0.0000002", volume: "9007199254740993.1" },
  ...{ turnover: "1", buy_volume: "0", buy_turnover: "0", price_decimals: 8, volume_decimals: 1, trades: 1 },
  ...{ last_trade_time: 0, confirm: true, revision: 0, quality: "complete", sequence: 1, emitted: 0, ...more },
});
