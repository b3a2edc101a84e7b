// The live chart page in headless Chromium, against a running server.
//
// What it takes from the environment is in `browser.mjs`. Everything goes through a proxy of this test, so that
// connections can be cut. Exits with 1 at the first broken promise.

import assert from "node:assert/strict";
import { BASE_URL, KEY, Proxy, USER, WAIT, eventually, launch, made, promise, record, source } from "./browser.mjs";

assert.ok(BASE_URL && USER && KEY, "set BASE_URL, USER and KEY to run this test");

const { length } = await import(source("format.js"));

// --- the page ------------------------------------------------------------------------------------------------------

const base = new URL(BASE_URL);
const proxy = new Proxy(base);
const address = `${base.protocol}//localhost:${await proxy.open()}/`;
const browser = await launch();

try {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT);

  const complaints = [];
  const hosts = new Set();
  const sockets = [];
  let cut = false;
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    const refused = cut && message.text().startsWith("WebSocket connection to");
    if (["error", "warning"].includes(message.type()) && !refused) complaints.push(message.text());
  });
  page.on("request", (request) => hosts.add(new URL(request.url()).host));
  page.on("websocket", (socket) => {
    hosts.add(new URL(socket.url()).host);
    sockets.push(record(socket));
  });

  const state = () => page.locator("#state").getAttribute("data-state");
  const field = (name) => page.locator(`[data-field="${name}"]`).textContent();
  const drawn = () => page.locator("#name").textContent();
  const live = () => eventually("live", async () => (await state()) === "live");
  const kept = () => page.evaluate(() => Object.values(sessionStorage).join() + Object.values(localStorage).join());
  const numbers = async () => /^\d+(\.\d+)?$/.test(await field("close"));

  /** Counts the pixels of the page's canvases inside `box` that have the colour of a custom property. */
  const pixels = (name, box = "#chart") =>
    page.evaluate(
      ([name, box]) => {
        const hex = getComputedStyle(document.querySelector(box)).getPropertyValue(`--${name}`).trim();
        const [red, green, blue] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
        let count = 0;
        for (const canvas of document.querySelectorAll(`${box} canvas`)) {
          if (canvas.width * canvas.height === 0) continue;
          const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
          const pen = copy.getContext("2d", { willReadFrequently: true });
          pen.drawImage(canvas, 0, 0);
          const { data } = pen.getImageData(0, 0, copy.width, copy.height);
          for (let at = 0; at < data.length; at += 4) {
            if (data[at] === red && data[at + 1] === green && data[at + 2] === blue && data[at + 3] > 200) count += 1;
          }
        }
        return count;
      },
      [name, box],
    );

  const logIn = async (key) => {
    await page.fill("#user", USER);
    await page.fill("#key", key);
    await page.click("#log-in-button");
  };

  await promise("an unknown user is asked to log in, and gets no data", async () => {
    const answer = await page.goto(address);
    const policy = answer.headers()["content-security-policy"];
    assert.match(policy, /default-src 'none'/);
    assert.doesNotMatch(policy, /unsafe|\*|http/);
    await page.locator("#log-in").waitFor({ state: "visible" });
    assert.deepEqual(sockets.flatMap(({ received }) => received), []);
  });

  await promise("a wrong key is refused with a message, and not kept", async () => {
    await logIn(`${KEY}-wrong`);
    await eventually("a refusal", async () => (await page.locator("#log-in-error").textContent()) !== "");
    assert.match(await page.locator("#log-in-error").textContent(), /^Wrong user or key/);
    assert.equal(await kept(), "");
  });

  await promise("the right key draws candlesticks", async () => {
    await logIn(KEY);
    await live();
    await page.locator("#log-in").waitFor({ state: "hidden" });
    await eventually("numbers", numbers);
    await eventually("candles", async () => (await pixels("up")) + (await pixels("down")) > 20);
    for (const name of ["open", "high", "low", "close", "volume", "turnover"]) {
      assert.match(await field(name), /^\d+(\.\d+)?$/, name);
    }
    assert.match(await field("time"), /^\d{4}-\d\d-\d\d/);
    assert.match(await field("trades"), /^\d+$/);
    assert.match(await page.title(), /^\d/);
  });

  await promise("the key stays out of the address and the store that outlives the tab", async () => {
    assert.ok(!page.url().includes(KEY));
    assert.equal(await page.evaluate(() => localStorage.length), 0);
  });

  await promise("the server sends the symbol's tick to a user who is logged in, and to no other", async () => {
    const ask = (login, symbol) =>
      page.evaluate(async ([login, symbol]) => (await import("/page/instrument.js")).fetchTick("linear", symbol, login), [login, symbol]);
    assert.equal(await ask({ user: USER, key: KEY }, "BTCUSDT"), "0.1");
    assert.equal(await ask({ user: USER, key: KEY }, "NOSUCHUSDT"), null);
    assert.equal(await ask(null, "BTCUSDT"), null);
    await eventually("the browser's word on the refusal", () => complaints.length === 1);
    assert.match(complaints.pop(), /401/);
  });

  await promise("the newest kline moves", async () => {
    const seen = async () => JSON.stringify([await field("time"), await field("close"), await field("trades")]);
    const first = await seen();
    await eventually("another value", async () => (await seen()) !== first);
  });

  await promise("quality is shown in words and marks", async () => {
    assert.match(await field("quality"), /^(complete|partial|gapped|repaired)$/);
    const list = await page.locator(".qualities").textContent();
    for (const quality of ["complete", "partial", "gapped", "repaired", "open"]) assert.ok(list.includes(quality));
    assert.match(await field("phase"), /^(open|closed)/);
  });

  await page.click("#symbol");
  const offered = await page.evaluate(() => ({
    symbols: [...document.querySelectorAll("#symbols [role=option]")].map((option) => option.textContent),
    intervals: [...document.querySelectorAll("#intervals input")].map((radio) => radio.value),
  }));
  await page.keyboard.press("Escape");

  await promise("a symbol can be typed, an interval picked, and both are in the address", async () => {
    const symbol = offered.symbols.at(-1);
    await page.click("#symbol");
    await page.keyboard.type(symbol.toLowerCase());
    await page.keyboard.press("Enter");
    await eventually("the symbol", async () => (await drawn()).startsWith(`${symbol} ·`));
    const interval = offered.intervals.at(-1);
    await page.check(`#intervals input[value="${interval}"]`, { force: true });
    await eventually("the interval", async () => (await drawn()) === `${symbol} · ${interval}`);
    assert.equal(new URL(page.url()).hash, `#${symbol}/${interval}`);
    await eventually("numbers", numbers);
  });

  await promise("an unknown symbol is named and changes nothing", async () => {
    const before = await drawn();
    await page.click("#symbol");
    await page.keyboard.type("NOSUCHUSDT");
    await page.keyboard.press("Enter");
    await eventually("a complaint", async () => (await page.locator("#problem").textContent()).includes("NOSUCHUSDT"));
    assert.equal(await drawn(), before);
  });

  const shared = `${offered.symbols[0]}/${offered.intervals.find((interval) => length(interval) >= 1000)}`;

  await promise("a shared link draws what it names", async () => {
    await page.evaluate((hash) => (location.hash = hash), shared);
    await eventually("the link's series", async () => (await drawn()) === shared.replace("/", " · "));
    await eventually("numbers", numbers);
    assert.ok(await page.locator("#problem").isHidden());
  });

  const topic = `kline.${shared.split("/").reverse().join(".")}`;
  /** Closed klines of the topic since its last snapshot. */
  const confirmed = () => {
    const pushes = sockets.flatMap(({ received }) => received.filter((message) => message.topic === topic));
    return pushes.slice(pushes.findLastIndex(({ type }) => type === "snapshot") + 1).filter(({ data }) => data.confirm);
  };

  await promise("the keyboard reaches older klines", async () => {
    await eventually("two klines", async () => confirmed().length > 1);
    await page.focus("#chart");
    await page.keyboard.press("Home");
    const first = await field("time");
    await page.keyboard.press("End");
    assert.ok(first < (await field("time")), first);
    assert.match(await page.locator("#spoken").textContent(), /Close \d/);
    await page.keyboard.press("Escape");
  });

  await promise("after a cut the page shows it, reconnects, and misses no kline", async () => {
    await page.focus("#chart");
    await page.keyboard.press("Home");
    const first = await field("time");
    await page.keyboard.press("Escape");
    const before = sockets.length;
    cut = true;
    await proxy.cut();
    await eventually("reconnecting", async () => (await state()) === "waiting");
    await eventually("a countdown", async () => /^in \d/.test(await page.locator("#countdown").textContent()));
    assert.ok(await numbers(), "what was drawn stays");
    assert.equal(await page.locator("#price").getAttribute("data-live"), "false", "and is greyed");
    await eventually("a refused try", async () => sockets.length > before);
    await proxy.open();
    await live();
    await eventually("a price to trust", async () => (await page.locator("#price").getAttribute("data-live")) === "true");
    cut = false;
    const again = sockets.at(-1);
    const answer = await eventually("a subscription", async () => again.received.find(({ op }) => op === "subscribe"));
    assert.equal(answer.topics[topic].recovered, true, JSON.stringify(answer));
    const seen = confirmed().length;
    await eventually("the next kline", async () => confirmed().length > seen);
    const numbered = confirmed().map(({ seq }) => seq);
    assert.deepEqual(numbered, numbered.map((_, at) => numbered[0] + at), "each number once and in order");
    await page.focus("#chart");
    await page.keyboard.press("Home");
    assert.equal(await field("time"), first, "the oldest kline is still there");
    await page.keyboard.press("Escape");
  });

  await promise("a reload in the same tab needs no second log-in", async () => {
    await page.reload();
    await live();
    await eventually("numbers", numbers);
    assert.equal(await drawn(), shared.replace("/", " · "));
  });

  await promise("klines a tenth of a second apart are drawn apart, and each quality in its colour", async () => {
    const start = 1704067199500;
    await page.evaluate(async (start) => {
      const { Chart } = await import("/page/chart.js");
      const box = Object.assign(document.createElement("div"), { id: "tenths" });
      Object.assign(box.style, { position: "fixed", inset: "0", zIndex: 9, background: "Canvas" });
      document.body.append(box);
      const qualities = ["complete", "partial", "gapped", "repaired"];
      const klines = Array.from({ length: 40 }, (_, n) => ({
        ...{ start: start + n * 100, end: start + n * 100 + 99, confirm: true, revision: 0, quality: qualities[n % 4] },
        ...{ open: "10", high: "12", low: "9", close: n % 2 ? "9.5" : "11", volume: "1", price_decimals: 1 },
      }));
      window.pointed = new Set();
      const chart = new Chart(box, { point: (at) => at !== null && window.pointed.add(at), reach: () => {} });
      chart.show("100ms", () => klines.slice(0, -1));
      const frame = () => new Promise(requestAnimationFrame);
      await frame().then(frame);
      chart.update(klines.at(-1));
    }, start);
    await eventually("candles", async () => (await pixels("up", "#tenths")) > 20 && (await pixels("down", "#tenths")) > 20);
    for (const quality of ["partial", "gapped", "repaired"]) {
      await eventually(quality, async () => (await pixels(quality, "#tenths")) > 20);
    }
    for (let x = 700; x < 1280; x += 3) await page.mouse.move(x, 300);
    const pointed = await page.evaluate(() => [...window.pointed].sort((a, b) => a - b));
    assert.deepEqual(pointed, Array.from({ length: 40 }, (_, n) => start + n * 100));
    await page.evaluate(() => document.getElementById("tenths").remove());
  });

  await promise("the page fits the width of a phone, in dark colours too", async () => {
    await page.emulateMedia({ colorScheme: "dark" });
    await page.setViewportSize({ width: 360, height: 740 });
    await eventually("candles", async () => (await pixels("up")) + (await pixels("down")) > 20);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= 360));
  });

  await promise("the chart library's link stays, and never contains this server's name", async () => {
    const logo = page.locator("#tv-attr-logo");
    await page.evaluate(() => {
      window.links = new Set();
      const look = () => {
        window.links.add(document.getElementById("tv-attr-logo")?.href);
        window.looking = requestAnimationFrame(look);
      };
      look();
    });
    for (const colorScheme of ["light", "dark", "light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await eventually(`the link of the ${colorScheme} scheme`, async () =>
        (await logo.evaluate((link) => link.hasAttribute("data-dark"))) === (colorScheme === "dark"));
    }
    assert.ok(await logo.isVisible());
    assert.deepEqual(await page.evaluate(() => (cancelAnimationFrame(window.looking), [...window.links])), [
      "https://www.tradingview.com/",
    ]);
  });

  await promise("log-out forgets the key", async () => {
    await page.click("#log-out");
    await page.locator("#log-in").waitFor({ state: "visible" });
    assert.equal(await kept(), "");
    assert.equal(await field("close"), "–");
    await page.reload();
    await page.locator("#log-in").waitFor({ state: "visible" });
  });

  // --- against a scripted server, for cases that a live server does not produce on demand ---

  const scripted = await context.newPage();
  scripted.setDefaultTimeout(WAIT);
  scripted.on("pageerror", (error) => complaints.push(error.message));
  const asked = [];
  let server;
  const withoutPast = (route) => route.fulfill({ json: { klines: [] } });
  await scripted.route(/\/v1\/klines\?/, withoutPast);
  await scripted.routeWebSocket(/\/v1\/stream$/, (socket) => {
    server = socket;
    socket.onMessage((text) => {
      const { op, id, ...request } = JSON.parse(text);
      asked.push({ op, ...request });
      const answer = (more) => socket.send(JSON.stringify({ v: 1, op, id, ok: true, ...more }));
      const [topic] = request.topics ?? [];
      if (op === "topics") answer({ intervals: ["1m"], symbols: { linear: ["AUSDT"], spot: ["AUSDT"] }, category: "linear" });
      if (op === "subscribe") answer({ topics: { [topic]: { epoch: "a", seq: 3, ...(request.since && { recovered: false }) } } });
    });
  });
  const subscriptions = () => asked.filter(({ op }) => op === "subscribe");
  const name = "kline.1m.spot:AUSDT";
  const push = (type, epoch, seq, data) => server.send(JSON.stringify({ v: 1, type, topic: name, epoch, seq, data }));
  const shows = (texts) =>
    eventually(JSON.stringify(texts), async () => {
      for (const [name, text] of Object.entries(texts)) {
        if ((await scripted.locator(`[data-field="${name}"]`).textContent()) !== text) return false;
      }
      return true;
    });
  const key = (name) => scripted.locator("#chart").press(name);

  await promise("a server without log-in asks for none, and digits are the exchange's", async () => {
    await scripted.goto(`${address}#spot:AUSDT/1m`);
    await eventually("a subscription", () => subscriptions().length === 1);
    assert.deepEqual(subscriptions()[0], { op: "subscribe", topics: [name], history: 500 });
    push("snapshot", "a", 3, [made(1, { quality: "gapped" }), made(2), made(3), made(4, { confirm: false })]);
    await shows({ close: "0.00000020", volume: "9007199254740993.1", phase: "open" });
    assert.ok(await scripted.locator("#log-in").isHidden() && (await scripted.locator("#log-out").isHidden()));
  });

  await promise("a revision changes the older kline that it is of", async () => {
    push("kline", "a", 4, made(1, { quality: "repaired", revision: 1, trades: 7 }));
    await key("Home");
    await shows({ quality: "repaired", revision: "1", trades: "≥ 7", time: "1970-01-01 00:01" });
    await key("ArrowRight");
    await shows({ quality: "complete", revision: "0", time: "1970-01-01 00:02" });
    await key("Escape");
    await shows({ time: "1970-01-01 00:04" });
  });

  await promise("a hole in the numbers is not drawn over: klines are fetched again", async () => {
    push("kline", "a", 7, made(5, { trades: 99 }));
    await eventually("a second subscription", () => subscriptions().length === 2);
    assert.equal(subscriptions()[1].since, undefined);
    await shows({ time: "1970-01-01 00:04" });
    push("snapshot", "a", 7, [made(4), made(5)]);
    await shows({ time: "1970-01-01 00:05", trades: "1" });
  });

  await promise("a snapshot after a loss inside the server is taken, and a full one asked for", async () => {
    push("snapshot", "a-1", 0, [made(6)]);
    await shows({ time: "1970-01-01 00:06" });
    await eventually("a third subscription", () => subscriptions().length === 3);
    push("snapshot", "a-1", 0, [made(5), made(6)]);
    push("kline", "a-1", 1, made(7));
    await shows({ time: "1970-01-01 00:07" });
  });

  await promise("a silent exchange is shown in a banner, and the price is greyed until frames come again", async () => {
    const since = 1704067200000;
    const sendStatus = (linear, spot) => {
      const feeds = [{ category: "linear", state: linear, since }, { category: "spot", state: spot, since }];
      server.send(JSON.stringify({ v: 1, type: "status", feeds }));
    };
    const banner = scripted.locator("#feed");
    const said = (text) => eventually(text, async () => (await scripted.locator("#state-text").textContent()) === text);
    const look = () => scripted.locator("#price").evaluate((price) => {
      const { color, opacity } = getComputedStyle(price);
      return `${color} ${opacity}`;
    });
    const usual = await look();
    sendStatus("down", "live");
    // The push after the status has been drawn, so that the status has been handled too; it is of the other category.
    push("kline", "a-1", 2, made(8));
    await shows({ time: "1970-01-01 00:08" });
    assert.ok((await banner.isHidden()) && (await look()) === usual);
    sendStatus("live", "stale");
    await said("Exchange stale");
    assert.match(await banner.textContent(), /only in part since 2024-01-01 00:00:00 UTC \(spot\)/);
    assert.ok((await banner.isVisible()) && (await look()) !== usual);
    sendStatus("live", "down");
    await said("Exchange down");
    assert.match(await banner.textContent(), /^No connection to the exchange since 2024-01-01 00:00:00 UTC \(spot\)/);
    assert.match(await scripted.title(), /^⚠ 0\.00000020 /);
    assert.notEqual(await look(), usual);
    sendStatus("down", "live");
    await said("Live");
    assert.ok((await banner.isHidden()) && (await look()) === usual && /^0/.test(await scripted.title()));
  });

  await promise("a reconnecting page sends its position, and a code that forbids reconnecting ends its attempts", async () => {
    await server.close({ code: 3001, reason: "slow" });
    await eventually("a fourth subscription", () => subscriptions().length === 4);
    assert.deepEqual(subscriptions()[3].since, { [name]: { epoch: "a-1", seq: 2 } });
    await server.close({ code: 3502, reason: "too many commands" });
    await eventually("the end", async () => (await scripted.locator("#state").getAttribute("data-state")) === "stopped");
    assert.match(await scripted.locator("#state-text").textContent(), /too many commands/);
  });

  // --- values of consumers, against another scripted server ---

  const charted = await context.newPage();
  charted.setDefaultTimeout(WAIT);
  charted.on("pageerror", (error) => complaints.push(error.message));
  charted.on("dialog", (dialog) => complaints.push(dialog.message()));
  const ends = ["near.1m.AUSDT", "far.1m.AUSDT", "signal.1m.AUSDT", "<img src=x onerror=alert(1)>.1m.AUSDT", "near.5m.AUSDT"];
  const offers = ends.map((end) => `ext.mine.${end}`);
  let published;
  const followed = new Set();
  await charted.route(/\/v1\/klines\?/, withoutPast);
  await charted.routeWebSocket(/\/v1\/stream$/, (socket) => {
    published = (topic, type, data) => socket.send(JSON.stringify({ v: 1, type, topic, epoch: "a", seq: 3, data }));
    socket.onMessage((text) => {
      const { op, id, topics = [] } = JSON.parse(text);
      const answer = (more) => socket.send(JSON.stringify({ v: 1, op, id, ok: true, ...more }));
      if (op === "topics") answer({ intervals: ["1m", "5m"], symbols: { linear: ["AUSDT"] }, category: "linear", values: offers });
      if (op === "unsubscribe") topics.forEach((topic) => followed.delete(topic));
      if (op !== "subscribe") return;
      answer({ topics: Object.fromEntries(topics.map((topic) => [topic, { epoch: "a", seq: 3 }])) });
      for (const topic of topics) {
        followed.add(topic);
        const minutes = Array.from({ length: 40 }, (_, at) => at);
        const kline = (at) => made(at, { category: "linear", open: "10", high: "12", low: "9", close: "11", price_decimals: 1 });
        const value = { near: (at) => 10 + at / 20, far: (at) => at % 7, signal: (at) => (at % 20 ? "word" : { side: "buy", text: "<b>up</b>" }) };
        const of = value[topic.split(".")[2]] ?? (() => "<img src=x onerror=alert(2)>");
        const valueOf = (at) => ({ start: at * 60_000, end: at * 60_000 + 59_999, confirm: true, revision: 0, value: of(at) });
        published(topic, "snapshot", minutes.map(topic.startsWith("ext.") ? valueOf : kline));
      }
    });
  });
  const boxes = () => charted.locator("#values label");
  /** Counts the pixels of a colour on the chart. */
  const colored = (hex) =>
    charted.evaluate((hex) => {
      const [red, green, blue] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
      let count = 0;
      for (const canvas of document.querySelectorAll("#chart canvas")) {
        if (canvas.width * canvas.height === 0) continue;
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        for (let at = 0; at < data.length; at += 4) {
          if (data[at] === red && data[at + 1] === green && data[at + 2] === blue) count += 1;
        }
      }
      return count;
    }, hex);
  const colors = ["#c27803", "#7a6ad8", "#1f8fc4"];

  await promise("series of the symbol and interval shown are drawn, near ones and far ones, and signals marked", async () => {
    await charted.goto(`${address}#AUSDT/1m`);
    await eventually("four choices", async () => (await boxes().count()) === 4);
    await eventually("subscriptions", () => followed.size === 5);
    assert.deepEqual([...followed].sort(), ["kline.1m.AUSDT", ...offers.slice(0, 4)].sort());
    for (const color of colors) await eventually(color, async () => (await colored(color)) > 20);
    published(offers[0], "value", { start: 40 * 60_000, end: 41 * 60_000 - 1, confirm: false, revision: 0, value: 11.5 });
  });

  await promise("a series that is switched off is neither drawn nor followed", async () => {
    await boxes().nth(1).locator("input").uncheck();
    await eventually("fewer", async () => !followed.has(offers[1]) && (await colored(colors[1])) === 0);
    await boxes().nth(1).locator("input").check();
    await eventually("again", async () => followed.has(offers[1]) && (await colored(colors[1])) > 20);
  });

  await promise("untrusted texts are shown as text", async () => {
    assert.equal(await boxes().nth(3).textContent(), "mine · <img src=x onerror=alert(1)>");
    await eventually("words", async () => (await charted.locator("#notes li").count()) === 20);
    assert.match(await charted.locator("#notes").textContent(), /"<img src=x onerror=alert\(2\)>"/);
    assert.equal(await charted.locator("#notes img, #values img").count(), 0);
  });

  await promise("no request went to another host, and the browser reported no error", async () => {
    assert.deepEqual([...hosts], [new URL(address).host]);
    assert.deepEqual(complaints, []);
  });
} finally {
  await browser.close();
  await proxy.cut();
}
