// The parts of the chart page that need neither a browser nor a server.

import assert from "node:assert/strict";
import { promise, source } from "./browser.mjs";

const { toTick } = await import(source("crosshair.js"));
const { clock, length, moment, padded, rest, zoneName } = await import(source("format.js"));
const { MOST, Past } = await import(source("past.js"));
const { Change, Series } = await import(source("series.js"));
const { named, search } = await import(source("symbols.js"));
const { Values, read, relevant } = await import(source("values.js"));

await promise("decimals are padded, never parsed", () => {
  assert.equal(padded("42010", 1), "42010.0");
  assert.equal(padded("0.00000001234567890123", 8), "0.00000001234567890123");
  assert.equal(padded("7", 0), "7");
});

await promise("times are printed in UTC as finely as the interval asks", () => {
  assert.equal(clock(1704067200100, length("100ms")), "00:00:00.100");
  assert.equal(moment(1704067261000, length("1s")), "2024-01-01 00:01:01");
  assert.equal(moment(1704067260000, length("1m")), "2024-01-01 00:01");
  assert.equal(moment(1704067200000, length("1M")), "2024-01-01");
  assert.deepEqual([rest(8000), rest(245_000), rest(12_000_000)], ["8 s", "4:05", "3:20:00"]);
});

await promise("a revision replaces its kline, and nothing older replaces a newer one", () => {
  const kline = (start, confirm, revision, close) => ({ start, confirm, revision, close });
  const series = new Series();
  series.reset([kline(0, true, 0, "1"), kline(1000, false, 0, "2")]);
  assert.equal(series.put(kline(1000, false, 0, "3")), Change.update);
  assert.equal(series.put(kline(1000, true, 0, "4")), Change.update);
  assert.equal(series.put(kline(1000, false, 0, "3")), Change.none);
  assert.equal(series.put(kline(0, true, 2, "9")), Change.update);
  assert.equal(series.put(kline(0, true, 1, "8")), Change.none);
  assert.equal(series.put(kline(500, true, 0, "5")), Change.redraw);
  assert.deepEqual(series.all().map(({ close }) => close), ["9", "5", "4"]);
});

const closed = (start, revision = 0) => ({ start, interval: "1m", confirm: true, revision });
const starts = (series) => series.all().map(({ start }) => start);
const revisions = (series) => series.all().map(({ revision }) => revision);

await promise("windows that come later are inserted, but not before the oldest, unless there are no others", () => {
  const series = new Series();
  series.reset([closed(1000), closed(4000)]);
  assert.deepEqual([series.put(closed(2000)), series.put(closed(0)), series.put(closed(1000))], [Change.redraw, Change.none, Change.update]);
  assert.deepEqual(starts(series), [1000, 2000, 4000]);
  assert.equal(series.expect(), 999);
  assert.equal(series.addOlder([], 999), false);
  assert.deepEqual([series.isWhole, series.put(closed(0))], [true, Change.redraw]);
  assert.deepEqual(starts(series), [0, 1000, 2000, 4000]);
  series.reset([]);
  assert.equal(series.put(closed(0)), Change.update);
});

await promise("what was pushed stays when older klines come, unless they have a later revision", () => {
  const series = new Series();
  series.reset([]);
  assert.equal(series.expect(), null, "without klines, the newest are asked for");
  series.put(closed(3000, 1));
  series.put({ ...closed(4000), confirm: false });
  assert.ok(series.addOlder([closed(1000), closed(2000, 2), closed(3000)], null));
  assert.deepEqual([starts(series), revisions(series)], [[1000, 2000, 3000, 4000], [0, 2, 1, 0]]);

  // Revisions of windows that are not loaded count only while their page is under way: it may have been read before them.
  series.put(closed(500, 9));
  assert.equal(series.expect(), 999);
  assert.deepEqual([series.put(closed(400, 1)), series.put(closed(300, 1)), series.put(closed(100, 1))], Array(3).fill(Change.none));
  assert.ok(series.addOlder([closed(300, 2), closed(400), closed(500)], 999));
  assert.deepEqual([starts(series).slice(0, 3), revisions(series).slice(0, 3)], [[300, 400, 500], [2, 1, 0]]);
});

await promise("loaded klines raise the number that is kept, and a page is refused after its neighbours were dropped", () => {
  const many = (from, count) => Array.from({ length: count }, (_, at) => closed(from + at));
  const series = new Series();
  series.reset(many(100_000, 500));
  for (let from = 99_000; series.size < 9500; from -= 1000) assert.ok(series.addOlder(many(from, 1000), series.expect()));
  assert.deepEqual([series.size, starts(series)[0]], [9500, 91_000]);
  const end = series.expect();
  for (let start = 100_500; start < 101_000; start += 1) series.put(closed(start));
  assert.deepEqual([series.size, starts(series)[0]], [10_000, 91_000]);
  assert.equal(series.put(closed(101_000)), Change.redraw);
  assert.deepEqual([series.size, starts(series)[0]], [9501, 91_500]);
  assert.equal(series.addOlder(many(90_000, 1000), end), false);
  assert.deepEqual(starts(series), many(91_500, 9501).map(({ start }) => start));
});

/** Follows a series of one kline; `answer(query, headers)` returns what the server says to each request. */
function follow(answer) {
  const [series, asked, seen] = [new Series(), [], { loaded: 0 }];
  globalThis.fetch = async (address, { headers, signal }) => {
    const query = Object.fromEntries(new URL(address, "http://localhost").searchParams);
    asked.push({ ...query, headers });
    const { status = 200, json = {}, history = null } = await answer(query);
    signal.throwIfAborted();
    return { ok: status === 200, status, headers: new Headers(history === null ? {} : { "x-klines-history": history }), json: async () => json };
  };
  series.reset([closed(60_000 * 500)]);
  const past = new Past(series, () => ({ user: "me", key: "ключ" }), { loaded: () => (seen.loaded += 1), state: () => {} });
  past.follow({ category: "spot", symbol: "AUSDT", interval: "1m" });
  return { series, past, asked, seen };
}

await promise("older klines are asked for one page at a time, with the log-in, until there are none", async () => {
  const pages = [[closed(60_000 * 498), closed(60_000 * 499)], []];
  const { series, past, asked, seen } = follow(() => ({ json: { klines: pages.shift() } }));
  await Promise.all([past.more(), past.more(), past.more()]);
  assert.deepEqual([asked.length, seen.loaded, series.size, past.text("utc")], [1, 1, 3, ""]);
  const authorization = `Basic ${Buffer.from("me:ключ").toString("base64")}`;
  assert.deepEqual(asked[0], { category: "spot", symbol: "AUSDT", interval: "1m", limit: "1000", end: "29999999", headers: { authorization } });
  await past.more();
  assert.deepEqual([asked.length, asked[1].end, past.text("utc")], [2, "29879999", "Oldest stored kline: 1970-01-01 08:18 UTC."]);
  await past.more();
  assert.deepEqual([asked.length, seen.loaded], [2, 1]);
});

await promise("a failure is said, and asked about again only after a pause; a refusal never", async () => {
  const failures = [
    [{ status: 503 }, "the server answers with status 503"],
    [{ json: { klines: [closed(0)] }, history: "unavailable" }, "the store cannot be read now"],
    [{ json: [] }, "the answer has no klines"],
  ];
  for (const [answered, reason] of failures) {
    const { series, past, asked } = follow(() => answered);
    await past.more();
    await past.more();
    assert.deepEqual([asked.length, series.size], [1, 1]);
    assert.equal(past.text("utc"), `Older klines cannot be loaded: ${reason}. Scroll back to try again.`);
    const { now } = Date;
    Date.now = () => now() + 60_000;
    await past.more();
    Date.now = now;
    assert.equal(asked.length, 2);
  }
  const { past, asked } = follow(() => ({ status: 400, json: { error: "symbol `AUSDT` is not watched here" } }));
  await past.more();
  assert.equal(past.text("utc"), "Older klines cannot be loaded: symbol `AUSDT` is not watched here.");
  past.follow({});
  await past.more();
  assert.equal(asked.length, 2, "another series is asked for");
});

await promise("an answer that comes after another series was chosen is not used", async () => {
  let answered;
  const { series, past, seen } = follow(() => new Promise((done) => (answered = done)));
  const load = past.more();
  past.follow(null);
  series.reset([closed(7)]);
  answered({ json: { klines: [closed(1)] } });
  await load;
  await past.more();
  assert.deepEqual([starts(series), seen.loaded, past.text("utc")], [[7], 0, ""]);
});

await promise("the page says where memory ends on a server without a store, and keeps a bounded number of klines", async () => {
  const bare = follow(() => ({ json: { klines: [] }, history: "none" }));
  await bare.past.more();
  assert.equal(bare.past.text("utc"), "Oldest kline in memory: 1970-01-01 08:20 UTC. This server stores no klines.");
  const page = (end) => Array.from({ length: 1000 }, (_, at) => closed(end - 59_999 - 60_000 * (999 - at)));
  const { series, past, asked } = follow(({ end }) => ({ json: { klines: page(Number(end)) } }));
  for (let n = 0; n < 60; n += 1) await past.more();
  assert.deepEqual([asked.length, series.size], [50, 50_001]);
  assert.match(past.text("utc"), new RegExp(`^The page keeps ${MOST.toLocaleString("en")} klines, since 1969-11-27 .* /v1/klines\\.$`));
});

await promise("values of consumers are sorted into lines, signals and texts, and kept by window", () => {
  const topics = ["ext.mine.rsi.1m.BTCUSDT", "ext.mine.rsi.1m.spot:BTCUSDT", "ext.mine.rsi.5m.BTCUSDT", "kline.1m.BTCUSDT"];
  assert.deepEqual(relevant(topics, "1m", "BTCUSDT"), [{ topic: topics[0], label: "mine · rsi" }]);
  assert.deepEqual(read(61.5), { number: 61.5 });
  assert.deepEqual(read({ side: "SELL", text: "x".repeat(99) }), { signal: { way: "down", text: `${"x".repeat(80)}…` } });
  assert.deepEqual(read({ text: "<b>" }), { signal: { way: "none", text: "<b>" } });
  assert.deepEqual([read(null), read([1]), read({ side: 7 })], [{ line: "null" }, { line: "[1]" }, { line: '{"side":7}' }]);
  const values = new Values();
  values.reset([{ start: 2, confirm: true, value: 2 }]);
  assert.ok(values.put({ start: 1, confirm: false, value: 1 }));
  assert.ok(!values.put({ start: 2, confirm: false, value: 9 }));
  assert.deepEqual(values.all(), [{ start: 1, number: 1 }, { start: 2, number: 2 }]);
});

await promise("symbols are found by any part of their names, the likeliest first", () => {
  const names = ["1000SOLUSDT", "BSOLUSDT", "BTCUSDT", "SOLUSDC", "SOLUSDT", "spot:SOLUSDT", "spot:BTCUSDT"];
  assert.deepEqual(search(names, "sol"), ["SOLUSDC", "SOLUSDT", "spot:SOLUSDT", "1000SOLUSDT", "BSOLUSDT"]);
  assert.deepEqual(search(names, " SolUsdt "), ["SOLUSDT", "spot:SOLUSDT", "1000SOLUSDT", "BSOLUSDT"]);
  assert.deepEqual(search(names, "spot:"), ["spot:SOLUSDT", "spot:BTCUSDT"]);
  assert.deepEqual(search(names, "usdt spot"), ["spot:SOLUSDT", "spot:BTCUSDT"]);
  assert.deepEqual([search(names, "xyz"), search(names, "")], [[], names]);
  assert.deepEqual([named(names, "solusdt"), named(names, "sol"), named(["BTCUSD", "spot:ETHUSDT"], "ethusdt")], ["SOLUSDT", undefined, "spot:ETHUSDT"]);
});

await promise("prices snap to the nearest tick", () => {
  assert.deepEqual([toTick(10.26, 0.5), toTick(10.24, 0.5), toTick(0.00000014, 1e-7).toFixed(7)], [10.5, 10, "0.0000001"]);
});

await promise("times are printed in UTC unless local ones are asked for", () => {
  process.env.TZ = "America/New_York";
  assert.equal(moment(1704067200000, 60_000), "2024-01-01 00:00");
  assert.equal(moment(1704067200000, 60_000, "local"), "2023-12-31 19:00");
  assert.equal(moment(1704067200000, 86_400_000, "local"), "2023-12-31 19:00", "a UTC day begins in the local evening");
  assert.deepEqual([1704067200000, 1719792000000].map((ms) => zoneName(ms, "local")), ["UTC-05:00", "UTC-04:00"]);
  process.env.TZ = "Asia/Kolkata";
  assert.deepEqual([zoneName(0, "local"), zoneName(0, "utc")], ["UTC+05:30", "UTC"]);
  delete process.env.TZ;
});
