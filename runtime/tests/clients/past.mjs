// The chart page scrolls back into history, in headless Chromium: against a run with a store, a run without one, and a
// server that is scripted.
//
// Takes STORED_URL (a run that needs the log-in), OLDEST (ms, the start of its oldest stored minute of BTCUSDT) and BARE_URL
// (a run without a store and log-in) from the environment, and what `browser.mjs` says. Exits with 1 at the first broken
// promise.

import assert from "node:assert/strict";
import { KEY, USER, WAIT, eventually, launch, made, promise, record, source } from "./browser.mjs";
import { openScripted, since } from "./scripted.mjs";

const { STORED_URL, BARE_URL } = process.env;
const OLDEST = Number(process.env.OLDEST);
assert.ok(STORED_URL && BARE_URL && OLDEST && USER && KEY, "set STORED_URL, BARE_URL, OLDEST, USER and KEY to run this test");

const { moment } = await import(source("format.js"));
const minute = (start) => moment(start, 60_000);

const browser = await launch();
const complaints = [];
const listen = (page) => {
  page.setDefaultTimeout(WAIT);
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
};

/** What a user sees and does on a page. */
function user(page) {
  const field = (name) => page.locator(`[data-field="${name}"]`).textContent();
  const area = () => page.locator("#chart").boundingBox();
  const said = async () => ((await page.locator("#past").isVisible()) ? page.locator("#past").textContent() : "");
  /** Drags the chart by some pixels. */
  const drag = async (pixels) => {
    const { x, y } = await area();
    await page.mouse.move(x + 600 - pixels / 2, y + 120);
    await page.mouse.down();
    await page.mouse.move(x + 600 + pixels / 2, y + 120, { steps: 5 });
    await page.mouse.up();
  };
  /** Returns the start of the kline at a place of the chart, in pixels from its left edge. */
  const at = async (place) => {
    const { x, y } = await area();
    await page.mouse.move(x + place + 1, y + 120);
    await page.mouse.move(x + place, y + 120);
    return field("time");
  };
  const oldest = async () => {
    await page.focus("#chart");
    await page.keyboard.press("Home");
    return field("time");
  };
  return { field, said, drag, at, oldest };
}

/** Waits until the page has drawn. */
const frames = (page) => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));

try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  listen(page);
  const { field, said, drag, oldest, at } = user(page);
  const asked = [];
  let gate = Promise.resolve();
  let underWay = 0;
  let atOnce = 0;
  await page.route(/\/v1\/klines\?/, async (route) => {
    asked.push(new URL(route.request().url()));
    underWay += 1;
    atOnce = Math.max(atOnce, underWay);
    await gate;
    const response = await route.fetch();
    underWay -= 1;
    return route.fulfill({ response });
  });
  /** Keeps answers back until the returned function is called. */
  const close = () => {
    let open;
    gate = new Promise((done) => (open = done));
    return open;
  };
  let stream;
  page.on("websocket", (socket) => (stream = record(socket)));

  await promise("the store fills the first screen where memory is short, with the log-in of the page", async () => {
    await page.goto(`${STORED_URL}/#BTCUSDT/1m`);
    await page.fill("#user", USER);
    await page.fill("#key", KEY);
    await page.click("#log-in-button");
    const snapshot = await eventually("klines of memory", () => stream.received.find(({ type }) => type === "snapshot"));
    await eventually("a page of the store", async () => asked.length === 1 && underWay === 0);
    await eventually("a full screen", async () => (await at(20)) < minute(Date.now() - 100 * 60_000));
    assert.ok(snapshot.data.length < 100, `memory is short: ${snapshot.data.length}`);
    assert.equal(asked[0].searchParams.get("end"), String(snapshot.data[0].start - 1));
    assert.ok(asked.every(({ href }) => !href.includes(KEY)));
    assert.equal(await field("quality"), "repaired");
    assert.equal(await said(), "");
  });

  await promise("older klines come before those that are seen, which do not move", async () => {
    const before = asked.length;
    const open = close();
    while (asked.length === before) await drag(700);
    const seen = [await at(600), await at(800)];
    assert.ok(seen[0] < seen[1] && seen[1] < minute(Date.now() - 600 * 60_000), `${seen} is in the past`);
    await drag(2);
    await drag(-2);
    assert.deepEqual([await at(600), await at(800)], seen);
    open();
    await eventually("the answer", () => underWay === 0);
    await frames(page);
    assert.deepEqual([await at(600), await at(800)], seen);
    assert.equal(asked.length, before + 1);
    const shown = await oldest();
    assert.ok(shown < seen[0], `${shown} was loaded`);
    await page.keyboard.press("Escape");
  });

  await promise("a new kline does not move those that are seen, and an older page that comes with it does not either", async () => {
    const before = asked.length;
    const open = close();
    while (asked.length === before) await drag(700);
    const newest = () => stream.received.findLast(({ type, data }) => type === "kline" && data.confirm)?.data.start ?? 0;
    const seen = [await at(600), await at(800)];
    const closed = newest();
    await eventually("the next minute", async () => newest() > closed, 90_000);
    open();
    await eventually("the answer", () => underWay === 0);
    await frames(page);
    assert.deepEqual([await at(600), await at(800)], seen);
  });

  await promise("at its end, the page says which stored kline is the oldest, and asks no more", async () => {
    const text = `Oldest stored kline: ${minute(OLDEST)} UTC.`;
    await page.focus("#chart");
    for (let n = 0; n < 8; n += 1) await page.keyboard.press("-");
    await eventually(text, async () => (await drag(900), (await said()) === text));
    assert.equal(await oldest(), minute(OLDEST));
    await page.keyboard.press("ArrowRight");
    assert.equal(await field("time"), minute(OLDEST + 60_000));
    assert.deepEqual([await field("quality"), await field("revision")], ["repaired", "0"]);
    const count = asked.length;
    const [first, last] = [asked[0], asked.at(-1)].map(({ searchParams }) => Number(searchParams.get("end")));
    assert.ok(count <= Math.ceil((first - last) / 60_000_000) + 1, `${count} requests`);
    for (let n = 0; n < 5; n += 1) await drag(300);
    assert.deepEqual([asked.length, atOnce], [count, 1], "one request at a time, and none any more");
    if (process.env.PICTURE) {
      await drag(-600);
      await page.screenshot({ path: process.env.PICTURE });
    }
    await page.selectOption("#zone", "local");
    assert.match(await said(), /^Oldest stored kline: .* UTC\+00:00\.$/);
    await page.selectOption("#zone", "utc");
    await page.focus("#chart");
    await page.keyboard.press("End");
    await eventually("nothing where the oldest kline is not seen", async () => (await said()) === "");
    await page.keyboard.press("Escape");
  });

  await promise("another symbol or interval begins with its own klines", async () => {
    const show = async (hash) => {
      await page.evaluate((hash) => (location.hash = hash), hash);
      await eventually(hash, async () => (await page.locator("#name").textContent()) === hash.replace("/", " · ") && /^\d/.test(await field("close")));
    };
    const before = asked.length;
    await show("ETHUSDT/1m");
    await eventually("the end of a symbol that was not backfilled", async () => /^Oldest stored kline/.test(await said()));
    assert.ok((await oldest()) > minute(Date.now() - 30 * 3_600_000));
    await page.keyboard.press("Escape");
    await show("BTCUSDT/1m");
    await eventually("its store again", () => asked.slice(before).filter(({ searchParams }) => searchParams.get("symbol") === "BTCUSDT").length > 0);
    assert.ok((await oldest()) > minute(OLDEST), "what was loaded before is loaded when it is scrolled to");
    assert.ok(asked.slice(before).every(({ searchParams }) => searchParams.get("interval") === "1m"));
  });
  await page.unrouteAll({ behavior: "ignoreErrors" });
  await context.close();

  await promise("a server without a store shows what is in memory, says so, and is not asked again", async () => {
    const bare = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    listen(bare);
    const count = { asked: 0 };
    bare.on("request", (request) => (count.asked += request.url().includes("/v1/klines")));
    await bare.goto(`${BARE_URL}/#BTCUSDT/1s`);
    const { said, drag, field } = user(bare);
    const text = /^Oldest kline in memory: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\. This server stores no klines\.$/;
    await eventually("the end of memory", async () => (await drag(600), text.test(await said())));
    const asked = count.asked;
    const seconds = async () => Date.parse(`${await field("time")}Z`);
    await bare.mouse.move(0, 0);
    const first = await seconds();
    await eventually("three more klines", async () => (await drag(300), await bare.mouse.move(0, 0), (await seconds()) >= first + 3000));
    assert.equal(count.asked, asked);
    await bare.close();
  });

  const prices = { category: "linear", open: "10", high: "12", low: "9", close: "11", price_decimals: 1, volume: "5" };
  const some = (from, count, more = {}) => Array.from({ length: count }, (_, n) => made(from + n, { ...prices, ...more }));
  const open = (settings) => openScripted(browser, complaints, "AUSDT/1m", { viewport: { width: 1280, height: 800 }, klines: () => some(since, 20), ...settings });

  await promise("klines that come before and after those that are seen, in one frame, do not move them", async () => {
    const page = await open();
    const settle = () => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    await page.evaluate(async (all) => {
      const { Chart } = await import("/page/chart.js");
      const box = Object.assign(document.createElement("div"), { id: "own" });
      Object.assign(box.style, { position: "fixed", inset: "0", zIndex: 9, background: "Canvas" });
      document.body.append(box);
      window.own = { shown: all.slice(1000, 1600), pointed: null, screens: null };
      const on = { point: (start) => (window.own.pointed = start), reach: (screens) => (window.own.screens = screens) };
      const chart = new Chart(box, on);
      chart.show("1m", () => window.own.shown);
      window.own.grow = () => ((window.own.shown = all), chart.redraw());
    }, some(since, 1700));
    await settle();
    await page.mouse.move(200, 300);
    await page.mouse.down();
    await page.mouse.move(1100, 300, { steps: 5 });
    await page.mouse.up();
    const pointed = () => page.evaluate(() => window.own.pointed);
    const seen = async () => {
      const starts = [];
      for (const x of [100, 600, 1100]) {
        await page.mouse.move(x + 1, 300);
        await page.mouse.move(x, 300);
        starts.push(await pointed());
      }
      return starts;
    };
    const before = await seen();
    assert.ok(before[2] < (since + 1540) * 60_000 && before[0] > (since + 1000) * 60_000, String(before));
    await page.evaluate(() => window.own.grow());
    await settle();
    assert.deepEqual(await seen(), before);
    assert.ok((await page.evaluate(() => window.own.screens)) > 7, "a thousand klines are before them");
    await page.context().close();
  });

  await promise("a store that cannot be read is said without a loop of requests, and scrolling tries again", async () => {
    let answer = { json: { klines: some(since - 300, 10) }, headers: { "x-klines-history": "unavailable" } };
    const page = await open({ past: () => answer });
    const { said, drag, oldest } = user(page);
    const text = "Older klines cannot be loaded: the store cannot be read now. Scroll back to try again.";
    await eventually(text, async () => (await said()) === text);
    for (let n = 0; n < 100; n += 1) page.push({ type: "kline", topic: "kline.1m.AUSDT", epoch: "a", seq: 4 + n, data: made(since + 20 + n, prices) });
    await eventually("the pushes", async () => (await page.field("time")) === minute((since + 119) * 60_000));
    assert.equal(page.asked.length, 1);
    const all = [...some(since - 900, 300), ...some(since - 600, 600, { quality: "gapped" })];
    answer = { json: { klines: all } };
    await eventually("another try", async () => (await drag(40), page.asked.length > 1));
    answer = { json: { klines: [] } };
    await eventually("the end", async () => (await oldest(), /^Oldest stored/.test(await said())));
    assert.equal(await oldest(), minute((since - 900) * 60_000));
    await page.context().close();
  });

  await promise("a revision that is pushed while its window is loaded is what is shown, and qualities are marked", async () => {
    let answered;
    const page = await open({ past: ({ end }) => (Number(end) < since * 60_000 - 1 ? undefined : new Promise((done) => (answered = done))) });
    await eventually("a request", () => page.asked.length === 1);
    page.push({ type: "kline", topic: "kline.1m.AUSDT", epoch: "a", seq: 4, data: made(since - 5, { ...prices, revision: 2, quality: "repaired", trades: 77 }) });
    page.push({ type: "kline", topic: "kline.1m.AUSDT", epoch: "a", seq: 5, data: made(since + 20, { ...prices, trades: 88 }) });
    await eventually("the pushes", async () => (await page.field("trades")) === "88");
    answered({ json: { klines: some(since - 5, 5, { quality: "gapped", revision: 1 }) } });
    await eventually("the oldest", async () => (await user(page).oldest()) === minute((since - 5) * 60_000));
    assert.deepEqual([await page.field("revision"), await page.field("trades"), await page.field("quality")], ["2", "≥ 77", "repaired"]);
    await page.keyboard.press("ArrowRight");
    assert.deepEqual([await page.field("revision"), await page.field("quality")], ["1", "gapped"]);
    await page.context().close();
  });

  await promise("a series that memory has no kline of is drawn from the store", async () => {
    const page = await open({ klines: () => [], past: ({ end }) => ({ json: { klines: end === undefined ? some(since, 30) : [] } }) });
    await eventually("the newest", async () => (await page.field("time")) === minute((since + 29) * 60_000));
    assert.equal(page.asked[0].end, undefined);
    page.push({ type: "kline", topic: "kline.1m.AUSDT", epoch: "a", seq: 4, data: made(since + 30, { ...prices, confirm: false }) });
    await eventually("the open kline", async () => (await page.field("phase")).startsWith("open"));
    assert.equal(await user(page).oldest(), minute(since * 60_000));
    await page.context().close();
  });

  assert.deepEqual(complaints, [], "the browser reported no error");
} finally {
  await browser.close();
}
