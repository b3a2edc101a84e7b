// The parts of the chart page that need neither a browser nor a server.

import assert from "node:assert/strict";
import { promise, source } from "./browser.mjs";

const { toTick } = await import(source("crosshair.js"));
const { clock, length, moment, padded, rest, zoneName } = await import(source("format.js"));
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

await promise("windows that come later are inserted, but not before the first of a snapshot that is cut", () => {
  const kline = (start, close) => ({ start, confirm: true, revision: 0, close });
  const series = new Series();
  const starts = () => series.all().map(({ start }) => start);
  series.reset([kline(1000, "1"), kline(4000, "4")]);
  assert.deepEqual([series.put(kline(2000, "2")), series.put(kline(0, "0"))], [Change.redraw, Change.redraw]);
  assert.deepEqual(starts(), [0, 1000, 2000, 4000]);
  series.reset([kline(1000, "1"), kline(4000, "4")], true);
  assert.deepEqual([series.put(kline(0, "0")), series.put(kline(1000, "1"))], [Change.none, Change.update]);
  assert.deepEqual(starts(), [1000, 4000]);
  series.reset([]);
  assert.equal(series.put(kline(0, "0")), Change.update);
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
