// The controls of the chart page in headless Chromium: the symbol box, the crosshair, the time zone and small screens.
//
// Klines come from the server of `scripted.mjs`. What it takes from the environment is in `browser.mjs`. Exits with 1 at
// the first broken promise.

import assert from "node:assert/strict";
import { BASE_URL, eventually, launch, made, promise, source } from "./browser.mjs";
import { openScripted, since } from "./scripted.mjs";

assert.ok(BASE_URL, "set BASE_URL to run this test");

const { moment } = await import(source("format.js"));

const browser = await launch();
const complaints = [];

const open = (hash, settings) => openScripted(browser, complaints, hash, settings);

/** Waits until the page has drawn, and returns the texts that it has written on its canvases since the last call. */
const written = (page) =>
  page.evaluate(async () => {
    const frame = () => new Promise(requestAnimationFrame);
    await frame().then(frame);
    const texts = [...window.written.keys()];
    window.written.clear();
    return texts;
  });

try {
  const page = await open("AUSDT/1m", { viewport: { width: 1280, height: 800 } });
  const box = page.getByRole("combobox", { name: "Symbol" });
  const options = page.getByRole("listbox", { name: "Symbols" }).getByRole("option");
  const active = async () => {
    const id = await box.getAttribute("aria-activedescendant");
    const selected = await page.locator('[role="option"][aria-selected="true"]').evaluateAll((all) => all.map((one) => [one.id, one.textContent]));
    assert.deepEqual(selected.map(([id]) => id), id === null ? [] : [id]);
    return selected[0]?.[1];
  };

  await promise("the symbol box lists what contains the typed part, among many hundred symbols", async () => {
    assert.equal(await box.getAttribute("aria-expanded"), "false");
    await box.click();
    assert.deepEqual([await options.count(), await active()], [806, "AUSDT"]);
    assert.ok(await options.nth(800).isVisible(), "the shown symbol is scrolled into view");
    await page.keyboard.type("sol");
    assert.equal(await box.getAttribute("aria-expanded"), "true");
    assert.deepEqual(await options.allTextContents(), ["SOLUSDC", "SOLUSDT", "spot:SOLUSDT", "1000SOLUSDT"]);
    assert.equal(await page.locator("#symbol-count").textContent(), "4 of 806 symbols");
    assert.equal(await active(), "SOLUSDC");
    assert.deepEqual(await page.locator("#symbols mark").allTextContents(), ["SOL", "SOL", "SOL", "SOL"]);
  });

  await promise("arrow keys move through the list, Escape leaves the symbol, Enter takes the other", async () => {
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowDown");
    assert.equal(await active(), "spot:SOLUSDT");
    await page.keyboard.press("Escape");
    assert.deepEqual([await box.getAttribute("aria-expanded"), await box.inputValue()], ["false", "AUSDT"]);
    assert.deepEqual([await options.count(), await page.name()], [0, "AUSDT · 1m"]);
    await box.click();
    await page.keyboard.type("sol");
    await page.keyboard.press("Escape");
    await page.keyboard.type("sol");
    await page.keyboard.press("ArrowUp");
    assert.equal(await active(), "1000SOLUSDT");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("PageDown");
    assert.equal(await active(), "1000SOLUSDT");
    await page.keyboard.press("PageUp");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await eventually("the symbol", async () => (await page.name()) === "SOLUSDT · 1m");
    assert.deepEqual([await box.inputValue(), page.hash()], ["SOLUSDT", "#SOLUSDT/1m"]);
  });

  await promise("a symbol can be picked with the pointer, and a part of a name changes nothing when it is left", async () => {
    await box.click();
    await page.keyboard.type("1000");
    await options.first().click();
    await eventually("the symbol", async () => (await page.name()) === "1000SOLUSDT · 1m");
    await box.click();
    await page.keyboard.type("coin7");
    await page.focus("#chart");
    assert.deepEqual([await box.inputValue(), await page.name()], ["1000SOLUSDT", "1000SOLUSDT · 1m"]);
    assert.ok(await page.locator("#problem").isHidden());
    await box.click();
    await page.keyboard.type("nosuch");
    assert.equal(await page.locator("#symbol-count").textContent(), "No symbol contains “nosuch”");
    await page.keyboard.press("Enter");
    assert.equal(await page.locator("#problem").textContent(), "No klines of “nosuch” here.");
    await page.context().close();
  });

  const prices = { category: "linear", open: "10", high: "12", low: "9", close: "11", price_decimals: 1 };
  const rising = () => Array.from({ length: 60 }, (_, at) => made(since + at, prices));

  /** Returns the rows of the chart that the crosshair's horizontal line covers. */
  const rows = (page) =>
    page.evaluate(() => {
      const hex = getComputedStyle(document.querySelector("#chart")).getPropertyValue("--soft").trim();
      const [red, green, blue] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
      const found = [];
      for (const canvas of document.querySelectorAll("#chart canvas")) {
        if (canvas.width < 400 || canvas.height < 40) continue;
        const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
        const pen = copy.getContext("2d", { willReadFrequently: true });
        pen.drawImage(canvas, 0, 0);
        const { data } = pen.getImageData(0, 0, copy.width, copy.height);
        for (let row = 0; row < canvas.height; row += 1) {
          let count = 0;
          for (let at = row * canvas.width * 4; at < (row + 1) * canvas.width * 4; at += 4) {
            if (data[at] === red && data[at + 1] === green && data[at + 2] === blue && data[at + 3] > 200) count += 1;
          }
          if (count > canvas.width / 4) found.push(canvas.getBoundingClientRect().top + row);
        }
      }
      return found;
    });

  /** Moves the pointer down a part of the chart; returns the prices that were written, and where lines were drawn. */
  const sweep = async (page, from, to) => {
    const area = await page.locator("#chart").boundingBox();
    const [labels, lines] = [new Set(), new Set()];
    await written(page);
    for (let part = from; part < to; part += 0.01) {
      await page.mouse.move(area.x + area.width - 300, area.y + area.height * part);
      for (const text of await written(page)) if (/^\d+\.\d+$/.test(text)) labels.add(text);
      for (const row of await rows(page)) lines.add(row);
    }
    return { labels: [...labels], lines: [...lines] };
  };

  await promise("the crosshair stands on ticks alone, and its label says no price between them", async () => {
    const page = await open("AUSDT/1m", { klines: rising, viewport: { width: 1280, height: 800 } });
    await eventually("the symbol's tick", async () => !(await written(page)).some((text) => /\.[1-46-9]$/.test(text)));
    const { labels, lines } = await sweep(page, 0.1, 0.6);
    assert.ok(labels.length >= 4 && labels.every((label) => Number(label) % 0.5 === 0), labels.join());
    assert.ok(lines.length >= 3 && lines.length <= labels.length, `${lines} for ${labels}`);
    const below = await sweep(page, 0.85, 0.9);
    assert.ok(below.lines.length >= 4, "over the volume, the line follows the pointer");
    await page.context().close();
  });

  await promise("the crosshair's label covers those of consumers' series", async () => {
    const topic = "ext.mine.near.1m.AUSDT";
    const points = () => rising().map(({ start, end }) => ({ start, end, confirm: true, revision: 0, value: 10 }));
    const klines = (asked) => (asked === topic ? points() : rising());
    const page = await open("AUSDT/1m", { klines, values: [topic], viewport: { width: 1280, height: 800 } });
    const scale = page.locator("#chart td:last-child canvas").first();
    /** Counts the pixels of a colour on the price scale. */
    const pixels = (hex) =>
      scale.evaluate((canvas, hex) => {
        const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
        const pen = copy.getContext("2d", { willReadFrequently: true });
        for (const layer of canvas.parentElement.querySelectorAll("canvas")) pen.drawImage(layer, 0, 0);
        const [red, green, blue] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
        const { data } = pen.getImageData(0, 0, copy.width, copy.height);
        const isIt = (at) => data[at] === red && data[at + 1] === green && data[at + 2] === blue;
        return Array.from({ length: data.length / 4 }, (_, n) => n * 4).filter(isIt).length;
      }, hex);
    const [line, label] = ["#c27803", "#3c4756"];
    const whole = await eventually("the label of the line", () => pixels(line));
    const area = await page.locator("#chart").boundingBox();
    let covered = whole;
    for (let y = 60; y < 400 && covered > whole / 4; y += 4) {
      await page.mouse.move(area.x + 900, area.y + y);
      await written(page);
      covered = await pixels(line);
      assert.ok((await pixels(label)) > whole / 2, `at ${y}`);
    }
    assert.ok(covered <= whole / 4, `${covered} of ${whole} pixels are seen`);
    await page.context().close();
  });

  await promise("without a known tick, the crosshair stands on the last decimal of the prices", async () => {
    const near = { ...prices, open: "1.01", high: "1.04", low: "1.01", close: "1.03", price_decimals: 2 };
    const page = await open("BUSDT/1m", { klines: () => rising().map((kline) => ({ ...kline, ...near })) });
    const { labels, lines } = await sweep(page, 0.1, 0.6);
    assert.ok(labels.every((label) => /^\d\.\d\d$/.test(label)), labels.join());
    assert.ok(lines.length >= 3 && lines.length <= labels.length, `${lines} for ${labels}`);
    await page.context().close();
  });

  await promise("the fields show the kline under the crosshair, in the digits that were received", async () => {
    const exact = { open: "9007199254740993.1", high: "9007199254740993.3", low: "9007199254740993", close: "9007199254740993.2" };
    const klines = () => rising().map((kline, at) => (at === 59 ? kline : { ...kline, ...exact, volume: `${at}` }));
    const page = await open("AUSDT/1m", { klines, viewport: { width: 1280, height: 800 } });
    await eventually("the last kline", async () => (await page.field("close")) === "11.0");
    const area = await page.locator("#chart").boundingBox();
    await page.mouse.move(area.x + area.width - 300, area.y + 100);
    await eventually("another kline", async () => (await page.field("close")) === "9007199254740993.2");
    const shown = await Promise.all(["open", "high", "low"].map((name) => page.field(name)));
    assert.deepEqual(shown, ["9007199254740993.1", "9007199254740993.3", "9007199254740993.0"]);
    const at = Number(await page.field("volume"));
    assert.equal(await page.field("time"), moment((since + at) * 60_000, 60_000));
    await page.context().close();
  });

  await promise("times are in UTC until local time is chosen, which the address remembers and labels name", async () => {
    const quarters = () => Array.from({ length: 96 * 4 }, (_, at) => made(since + 15 * at, { ...prices, interval: "15m", end: (since + 15 * at + 15) * 60_000 - 1 }));
    const page = await open("AUSDT/15m", { klines: quarters, intervals: ["15m"], viewport: { width: 1280, height: 800 } });
    const choice = page.getByRole("combobox", { name: "Times in" });
    const start = () => page.locator("#fields dt").first().textContent();
    const clocks = async () => [await start(), await page.locator("#clock-zone").textContent()];
    assert.deepEqual([await page.field("time"), ...(await clocks())], ["2024-01-04 23:45", "Start (UTC)", "UTC"]);
    assert.deepEqual(await choice.locator("option").allTextContents(), ["UTC", "local time (UTC+05:30)"]);

    await choice.selectOption("local");
    assert.deepEqual([await page.field("time"), ...(await clocks())], ["2024-01-05 05:15", "Start (UTC+05:30)", "UTC+05:30"]);
    assert.equal(page.hash(), "#AUSDT/15m/local");
    page.push({ type: "status", feeds: [{ category: "linear", state: "down", since: since * 60_000 }] });
    await eventually("the banner", async () => (await page.locator("#feed").textContent()).includes("2024-01-01 05:30:00 UTC+05:30"));

    await page.reload();
    await eventually("local time again", async () => (await page.field("time")) === "2024-01-05 05:15");
    assert.deepEqual([await clocks(), await choice.inputValue()], [["Start (UTC+05:30)", "UTC+05:30"], "local"]);

    await choice.selectOption("utc");
    assert.deepEqual([await page.field("time"), ...(await clocks()), page.hash()], ["2024-01-04 23:45", "Start (UTC)", "UTC", "#AUSDT/15m"]);
    await page.evaluate(() => (location.hash = "#AUSDT/15m/mars"));
    await eventually("a complaint", async () => (await page.locator("#problem").textContent()).includes("No time zone “mars”"));
    await page.context().close();
  });

  await promise("in local time the days of the time scale begin at local midnight, also where clocks change", async () => {
    // Clocks in New York went back on 3 November 2024 at 06:00 UTC, so that 01:00 to 02:00 came twice.
    const from = Date.UTC(2024, 10, 2) / 60_000;
    const hours = () => Array.from({ length: 72 }, (_, at) => made(from + 60 * at, { ...prices, interval: "1h", end: (from + 60 * at + 60) * 60_000 - 1 }));
    const options = { klines: hours, intervals: ["1h"], timezoneId: "America/New_York", viewport: { width: 1280, height: 800 } };
    const page = await open("AUSDT/1h/local", options);
    const under = async (hour) => {
      await page.focus("#chart");
      await page.keyboard.press("Home");
      for (let n = 0; n < hour; n += 1) await page.keyboard.press("ArrowRight");
      return written(page);
    };
    assert.ok((await under(28)).includes("2024-11-03 00:00 UTC-04:00"));
    for (const [hour, label] of [[29, "2024-11-03 01:00 UTC-04:00"], [30, "2024-11-03 01:00 UTC-05:00"]]) {
      assert.ok((await under(hour)).includes(label), label);
    }
    await page.keyboard.press("Escape");
    const midnight = async (zone) => {
      await written(page);
      await page.locator("#zone").selectOption(zone);
      return eventually(`the third in ${zone}`, () => page.evaluate(() => window.written.get("3")));
    };
    const utc = await midnight("utc");
    const [ahead, spacing] = [4, 9];
    assert.equal(await midnight("local"), utc + ahead * spacing);
    assert.equal(await midnight("utc"), utc);
    await page.context().close();
  });

  for (const [width, height, least] of [[568, 320, 200], [667, 375, 250], [844, 390, 265], [375, 667, 240], [1280, 720, 480]]) {
    await promise(`at ${width} × ${height} the whole chart is seen without scrolling`, async () => {
      const hasTouch = width < 1000;
      const dear = { open: "64249.20", high: "64255.30", low: "64249.20", close: "64255.30", price_decimals: 2 };
      const klines = () => rising().map((kline) => ({ ...kline, ...dear }));
      const page = await open("AUSDT/1m", { klines, viewport: { width, height }, hasTouch, isMobile: hasTouch });
      const { chart, ...scroll } = await page.evaluate(() => ({
        chart: document.querySelector("#chart").getBoundingClientRect().toJSON(),
        width: document.documentElement.scrollWidth,
        height: document.documentElement.scrollHeight,
      }));
      assert.deepEqual(scroll, { width, height });
      assert.ok(chart.top >= 0 && chart.bottom <= height && chart.height >= least && chart.width === width, JSON.stringify(chart));
      for (const id of ["symbol", "intervals", "state", "price", "fields", "zone"]) {
        const part = await page.locator(`#${id}`).boundingBox();
        assert.ok(part.y >= 0 && part.y + part.height <= height && part.x < width, `${id}: ${JSON.stringify(part)}`);
      }
      for (const name of ["open", "high", "low", "close"]) {
        const cell = await page.locator(`[data-field="${name}"]`).boundingBox();
        assert.ok(cell.x + cell.width <= width, `${name}: ${JSON.stringify(cell)}`);
      }
      await (hasTouch ? page.locator("#symbol").tap() : page.locator("#symbol").click());
      await page.keyboard.type("coin1");
      const option = await page.getByRole("option").nth(1).boundingBox();
      assert.ok(option.y + option.height <= height && option.x + option.width <= width, JSON.stringify(option));
      await page.context().close();
    });
  }

  /** Counts the pixels of a colour of the style sheet on the price pane, in the columns of the places `from` to `to`. */
  const inked = (page, name, from, to) =>
    page.evaluate(([name, from, to]) => {
      const hex = getComputedStyle(document.querySelector("#chart")).getPropertyValue(`--${name}`).trim();
      const wanted = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
      let count = 0;
      for (const canvas of document.querySelector("#chart td:nth-child(2)").querySelectorAll("canvas")) {
        const [left, right] = [from, to].map((x) => Math.round((x * canvas.width) / canvas.clientWidth));
        if (right <= left || canvas.height === 0) continue;
        const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
        const pen = copy.getContext("2d", { willReadFrequently: true });
        pen.drawImage(canvas, 0, 0);
        const { data } = pen.getImageData(left, 0, right - left, canvas.height);
        for (let at = 0; at < data.length; at += 4) {
          if (wanted.every((value, part) => Math.abs(data[at + part] - value) < 3) && data[at + 3] > 60) count += 1;
        }
      }
      return count;
    }, [name, from, to]);

  /** Moves the pointer to the place of a minute, and returns its x. */
  const pointTo = async (page, minute) => {
    const area = await page.locator("#chart").boundingBox();
    const shown = moment(minute * 60_000, 60_000);
    for (let x = area.width - 80; x > 0; x -= 3) {
      await page.mouse.move(area.x + x, area.y + 100);
      if ((await page.field("time")) === shown) return x;
    }
    throw new assert.AssertionError({ message: `no place of ${shown}` });
  };

  for (const colorScheme of ["light", "dark"]) {
    await promise(`each quality has a mark, and missing windows are a gap until they are repaired, in ${colorScheme} colours`, async () => {
      const topic = "kline.1m.AUSDT";
      const quality = { 20: "partial", 24: "gapped", 28: "repaired" };
      // Ten minutes are missing.
      const some = () => rising().filter((_, at) => at < 40 || at >= 50).map((kline) => {
        const at = kline.start / 60_000 - since;
        return { ...kline, volume: "5", quality: quality[at] ?? "complete", revision: at === 28 ? 2 : 0 };
      });
      const page = await open("AUSDT/1m", { klines: some, colorScheme, viewport: { width: 1280, height: 800 } });
      for (const [at, name] of Object.entries(quality)) {
        const x = await pointTo(page, since + Number(at));
        await eventually(name, async () => (await inked(page, name, x - 6, x + 6)) > 10);
        assert.equal(await inked(page, name, 0, x - 12), 0, "no other kline has that mark");
        assert.equal(await page.field("quality"), name);
      }
      assert.deepEqual([await page.field("revision"), await page.field("trades")], ["2", "≥ 1"]);
      assert.match(await page.locator('[data-field="quality"]').getAttribute("title"), /^Taken from the exchange's candles/);

      const x = await pointTo(page, since + 45);
      assert.deepEqual([await page.field("quality"), await page.field("close"), await page.field("phase")], ["no kline", "–", ""]);
      await page.mouse.move(0, 0);
      const candles = () => inked(page, "up", x - 4, x + 4);
      // The line of the newest price crosses every place.
      const line = await candles();
      assert.ok(line < 9, `nothing is drawn over the gap, but ${line} pixels are`);
      assert.ok((await written(page)).includes("no klines"));

      // The first version of a missing window, and then a revision of an older one, among others.
      page.push({ type: "kline", topic, epoch: "a", seq: 4, data: made(since + 45, { ...prices, volume: "5", quality: "repaired", trades: 3 }) });
      await eventually("the missing kline in its place", async () => (await candles()) > line + 30);
      assert.equal(await pointTo(page, since + 45), x, "no other kline has moved");
      assert.deepEqual([await page.field("quality"), await page.field("revision"), await page.field("trades")], ["repaired", "0", "≥ 3"]);
      page.push({ type: "kline", topic, epoch: "a", seq: 5, data: made(since + 24, { ...prices, volume: "5", revision: 1 }) });
      await eventually("no mark", async () => (await inked(page, "gapped", 0, 1200)) === 0);
      await pointTo(page, since + 24);
      assert.deepEqual([await page.field("quality"), await page.field("revision")], ["complete", "1"]);
      await page.context().close();
    });
  }

  await promise("an older kline than the oldest of a full snapshot is not drawn beside it", async () => {
    const many = () => Array.from({ length: 500 }, (_, at) => made(since + at, prices));
    // The klines between them cannot be loaded.
    const page = await open("AUSDT/1m", { klines: many, past: () => ({ json: { klines: [] }, headers: { "x-klines-history": "unavailable" } }) });
    const oldest = async () => {
      await page.focus("#chart");
      await page.keyboard.press("Home");
      return page.field("time");
    };
    assert.equal(await oldest(), moment(since * 60_000, 60_000));
    const push = (seq, minute) => page.push({ type: "kline", topic: "kline.1m.AUSDT", epoch: "a", seq, data: made(minute, { ...prices, revision: 1, trades: seq }) });
    push(4, since - 100);
    push(5, since);
    await eventually("the second push", async () => (await page.field("trades")) === "5");
    assert.equal(await oldest(), moment(since * 60_000, 60_000));
    await page.context().close();
  });

  assert.deepEqual(complaints, [], "the browser reported no error");
} finally {
  await browser.close();
}
