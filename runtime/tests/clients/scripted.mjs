// The chart page with klines from a server that is scripted here, for cases that a live server does not produce on demand.
// The files of the page come from the running server.

import { BASE_URL, WAIT, eventually, made } from "./browser.mjs";

export const LISTED = ["AUSDT", "BUSDT", "1000SOLUSDT", "SOLUSDC", "SOLUSDT"];
export const FILLERS = Array.from({ length: 800 }, (_, n) => `COIN${String(n).padStart(3, "0")}USDT`);
export const since = Date.UTC(2024, 0, 1) / 60_000;

/**
 * Opens the page at `hash` in a new context of the browser; its klines are those that `klines(topic)` returns. `past`
 * answers a request for older ones with what `route.fulfill` takes; by default there are none. What the browser
 * complains of is added to `complaints`.
 */
export async function openScripted(browser, complaints, hash, settings = {}) {
  const { klines = () => [made(since)], values = [], intervals = ["1m", "5m"], past, ...options } = settings;
  const context = await browser.newContext({ ignoreHTTPSErrors: true, timezoneId: "Asia/Kolkata", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT);
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
  await page.route(/\/v5\/market\/instruments-info/, (route) => {
    const symbol = new URL(route.request().url()).searchParams.get("symbol");
    const list = symbol === "AUSDT" ? [{ symbol, priceFilter: { tickSize: "0.50" } }] : [];
    return route.fulfill({ json: { retCode: 0, result: { list } } });
  });
  page.asked = [];
  await page.route(/\/v1\/klines\?/, async (route) => {
    const query = Object.fromEntries(new URL(route.request().url()).searchParams);
    page.asked.push(query);
    return route.fulfill((await past?.(query)) ?? { json: { klines: [] } });
  });
  await page.routeWebSocket(/\/v1\/stream$/, (socket) => {
    page.push = (message) => socket.send(JSON.stringify({ v: 1, ...message }));
    socket.onMessage((text) => {
      const { op, id, topics: [topic] = [] } = JSON.parse(text);
      const answer = (more) => page.push({ op, id, ok: true, ...more });
      const symbols = { linear: [...FILLERS, ...LISTED], spot: ["SOLUSDT"] };
      if (op === "topics") answer({ intervals, symbols, category: "linear", values });
      if (op !== "subscribe") return;
      answer({ topics: { [topic]: { epoch: "a", seq: 3 } } });
      page.push({ type: "snapshot", topic, epoch: "a", seq: 3, data: klines(topic) });
    });
  });
  // What is written on the canvases can be read nowhere else.
  await page.addInitScript(() => {
    window.written = new Map();
    const { fillText } = CanvasRenderingContext2D.prototype;
    CanvasRenderingContext2D.prototype.fillText = function write(text, ...rest) {
      window.written.set(text, rest[0]);
      return fillText.call(this, text, ...rest);
    };
  });
  await page.goto(new URL(`/#${hash}`, BASE_URL).href);
  await eventually("klines", async () => /^\d/.test(await page.locator('[data-field="close"]').textContent()));
  page.field = (name) => page.locator(`[data-field="${name}"]`).textContent();
  page.name = () => page.locator("#name").textContent();
  page.hash = () => decodeURIComponent(new URL(page.url()).hash);
  return page;
}
