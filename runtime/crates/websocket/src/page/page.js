// The live chart page: connects the stream, the klines, the chart and the controls.

import { Chart } from "./chart.js";
import { Fields } from "./fields.js";
import { clock, length, moment, padded, rest, zoneName } from "./format.js";
import { fetchTick } from "./instrument.js";
import { COLORS } from "./overlays.js";
import { Past } from "./past.js";
import { Change, Series } from "./series.js";
import { Stream } from "./stream.js";
import { SymbolBox, named } from "./symbols.js";
import { Values, relevant } from "./values.js";

const LOGIN_KEY = "klines.login";
/** How often the page requests the list of series that consumers publish, ms. */
const LIST_EVERY = 10_000;
/** The maximum number of consumers' series that are drawn at a time. */
const MAX_DRAWN = 32;
/** The number of series that are drawn until the user selects others. */
const DRAWN_AT_FIRST = COLORS.length;
/** The maximum number of texts in the list below the chart. */
const MAX_NOTES = 20;
const $ = (id) => document.getElementById(id);

const series = new Series();
const chart = new Chart($("chart"), { point: (start) => point(start), reach: (screens) => reach(screens) });
const past = new Past(series, storedLogin, { loaded: () => showSeries(), state: () => showPast() });
const symbolBox = new SymbolBox(
  { input: $("symbol"), popup: $("symbol-popup"), list: $("symbols"), count: $("symbol-count") },
  (symbol) => choose({ symbol }),
);
const dark = matchMedia("(prefers-color-scheme: dark)");
dark.addEventListener("change", () => chart.paint());

/** The available klines: `{ intervals, symbols, category }`, once the server has sent them. */
let offered = null;
/** The last state of the feeds that the server sent: `{ category, state, since }` each. */
let feeds = [];
/** The selected series: `{ symbol, interval }`. */
let chosen = null;
/** The time zone of all times on the page: `utc` or `local`. */
let zone = "utc";
/** When the last message came, or null. */
let lastMessage = null;
/** The ticks of symbols, as decimals; a symbol without a known tick is absent. */
const ticks = new Map();
/** The start of the kline under the pointer, or null. */
let pointed = null;
/** The series that consumers publish for the selected one: `{ topic, label, color, values }` each. */
let published = [];
/** All topics of values on the server. */
let known = [];
/** Labels of the series that the user has switched off. */
const hidden = new Set();
let valuesFrame = 0;
/** Whether the oldest kline is seen. */
let isAtOldest = false;
let state = { name: "connecting" };

const socketAddress = `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/v1/stream`;
const stream = new Stream(socketAddress, storedLogin(), {
  state: showState,
  topics: offer,
  message: () => {
    lastMessage = Date.now();
    showClock();
  },
  loggedIn: (login) => {
    sessionStorage.setItem(LOGIN_KEY, JSON.stringify(login));
    $("log-out").hidden = false;
  },
  refused: (error) => showProblem(error),
  feeds: (received) => {
    feeds = received;
    showFeed();
  },
  snapshot: (klines) => {
    series.reset(klines);
    past.follow(shownSeries());
    showSeries();
  },
  kline: (kline) => {
    const change = series.put(kline);
    if (change === Change.redraw) chart.redraw();
    if (change === Change.update) chart.update(kline);
    showKline();
  },
  known: (topics) => {
    known = topics;
    offerValues();
  },
  values: (topic, values) => {
    of(topic)?.values.reset(values);
    drawValues();
  },
  value: (topic, value) => {
    if (of(topic)?.values.put(value)) drawValues();
  },
});

function storedLogin() {
  try {
    return JSON.parse(sessionStorage.getItem(LOGIN_KEY));
  } catch {
    return null;
  }
}

// --- connection and log-in ---------------------------------------------------------------------------------------

function showState(next) {
  state = next;
  // The last state of the feeds is outdated.
  if (next.name === "connecting") feeds = [];
  const text = {
    connecting: "Connecting",
    "logging-in": "Logging in",
    live: "Live",
    waiting: "Reconnecting",
    "logged-out": "Logged out",
    stopped: `Stopped: ${next.reason}`,
  }[next.name];
  $("state").dataset.state = next.name;
  $("state-text").textContent = text;
  showFeed();
  showCountdown();
  if (next.name === "logged-out") askLogIn(next.error);
  else if (next.name === "live") $("log-in").close();
  $("log-in-button").disabled = next.name === "connecting" || next.name === "logging-in";
  if (next.name === "waiting" && $("log-in").open) $("log-in-error").textContent = "The server does not answer. Trying again.";
  showEmpty();
}

function askLogIn(error = "") {
  sessionStorage.removeItem(LOGIN_KEY);
  $("log-out").hidden = true;
  series.reset([]);
  past.follow(null);
  chart.redraw();
  showKline();
  known = [];
  offerValues();
  $("log-in-error").textContent = error;
  if (!$("log-in").open) $("log-in").showModal();
  if (error) $("key").select();
}

$("log-in").addEventListener("cancel", (event) => event.preventDefault());
$("log-in-form").addEventListener("submit", (event) => {
  event.preventDefault();
  $("log-in-error").textContent = "";
  stream.logIn($("user").value, $("key").value);
});
$("log-out").addEventListener("click", () => {
  $("log-in-form").reset();
  stream.logOut();
});
addEventListener("online", () => state.name === "waiting" && stream.connect());

/** Returns the state of the selected category's feed; `undefined` if the server has not sent it. */
function feed() {
  return state.name === "live" ? feeds.find((one) => one.category === shownSeries()?.category) : undefined;
}

/** Returns the selected series as the parameters of a request; null if none is selected. */
function shownSeries() {
  if (chosen === null) return null;
  const [symbol, category = offered.category] = chosen.symbol.split(":").reverse();
  return { category, symbol, interval: chosen.interval };
}

/** Shows the state of the feed: the connection to the server can be live while the prices from the exchange are old. */
function showFeed() {
  const { category, state: feedState = "live", since } = feed() ?? {};
  const when = since === undefined ? "" : `${moment(since, 1000, zone)} ${zoneName(since, zone)}`;
  const text = {
    live: "",
    stale: `Data of the exchange arrives only in part since ${when} (${category}): prices may be old and klines incomplete.`,
    down: `No connection to the exchange since ${when} (${category}): these prices are old.`,
  }[feedState];
  $("feed").textContent = text;
  $("feed").dataset.feed = feedState;
  $("feed").hidden = text === "";
  $("state").dataset.feed = feedState;
  if (state.name === "live") $("state-text").textContent = { live: "Live", stale: "Exchange stale", down: "Exchange down" }[feedState];
  const isLive = state.name === "live" && feedState === "live";
  $("price").dataset.live = String(isLive);
  chart.setLive(isLive);
  showTitle();
}

function showTitle() {
  const price = series.last === undefined ? "" : padded(series.last.close, series.last.price_decimals);
  const mark = $("price").dataset.live === "true" ? "" : "⚠ ";
  document.title = price === "" ? "klines" : `${mark}${price} ${chosen.symbol} ${chosen.interval} · klines`;
}

function showCountdown() {
  $("countdown").textContent = state.name === "waiting" ? `in ${rest(state.until - Date.now())}` : "";
}

function showProblem(problem) {
  $("problem").textContent = problem;
  $("problem").hidden = problem === "";
}

// --- symbol and interval -----------------------------------------------------------------------------------------

/** Offers the symbols and intervals. Symbols of the first category have no prefix, others have their category. */
function offer({ intervals, symbols, category }) {
  const names = Object.entries(symbols)
    .sort(([a], [b]) => (b === category) - (a === category))
    .flatMap(([of, list]) => list.map((name) => (of === category ? name : `${of}:${name}`)));
  intervals = intervals.toSorted((a, b) => length(a) - length(b));
  offered = { intervals, symbols: names, category };
  symbolBox.offer(names);
  const radios = intervals.map((interval) => {
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "interval", value: interval });
    const label = document.createElement("label");
    label.append(radio, Object.assign(document.createElement("span"), { textContent: interval }));
    return label;
  });
  $("intervals").replaceChildren($("intervals").firstElementChild, ...radios);
  choose(fromHash());
}

/**
 * Parses a hash such as `#spot:ETHUSDT/1m`, which makes what is shown shareable as a link; `#spot:ETHUSDT/1m/local`
 * shows it in local time.
 */
function fromHash() {
  const [, symbol, interval, zone] = /^#([\w:.-]+)(?:\/(\w+)(?:\/(\w+))?)?$/.exec(location.hash) ?? [];
  return { symbol, interval, zone };
}

/** Selects the wanted symbol, interval and time zone; shows a message for those that are not available. */
function choose(wanted) {
  if (offered === null || offered.symbols.length === 0) return;
  const { symbols, intervals } = offered;
  const symbol = wanted.symbol === undefined ? undefined : named(symbols, wanted.symbol);
  const interval = intervals.find((one) => one === wanted.interval);
  const missing = [
    wanted.symbol !== undefined && symbol === undefined && `No klines of “${wanted.symbol}” here.`,
    wanted.interval !== undefined && interval === undefined && `No klines of “${wanted.interval}” here.`,
    !["utc", "local", undefined].includes(wanted.zone) && `No time zone “${wanted.zone}” here: write “local”, or nothing for UTC.`,
  ];
  showProblem(missing.filter(Boolean).join(" "));
  if (wanted.zone === "utc" || wanted.zone === "local") setZone(wanted.zone);
  draw({
    symbol: symbol ?? chosen?.symbol ?? symbols[0],
    interval: interval ?? chosen?.interval ?? intervals.find((one) => length(one) >= 1000) ?? intervals[0],
  });
}

function draw({ symbol, interval }) {
  const changed = chosen?.symbol !== symbol || chosen?.interval !== interval;
  chosen = { symbol, interval };
  showChoice();
  showFeed();
  if (changed) {
    series.reset([]);
    past.follow(null);
    pointed = null;
    chart.show(interval, () => series.all());
    showKline();
    offerValues();
  }
  showTick();
  stream.select(`kline.${interval}.${symbol}`);
}

/** Snaps the crosshair to the tick of the selected symbol, as soon as it is known. */
async function showTick() {
  const { symbol } = chosen;
  if (!ticks.has(symbol) && state.name === "live") {
    const { category, symbol: name } = shownSeries();
    const tick = await fetchTick(category, name, storedLogin());
    if (tick !== null) ticks.set(symbol, tick);
  }
  if (symbol === chosen.symbol) chart.setTick(ticks.get(symbol) ?? null);
}

function showChoice() {
  symbolBox.show(chosen.symbol);
  for (const radio of $("intervals").querySelectorAll("input")) radio.checked = radio.value === chosen.interval;
  const shared = `#${chosen.symbol}/${chosen.interval}${zone === "local" ? "/local" : ""}`;
  history.replaceState(null, "", shared);
}

addEventListener("hashchange", () => choose(fromHash()));
$("picker").addEventListener("submit", (event) => {
  event.preventDefault();
  symbolBox.submit();
});
$("intervals").addEventListener("change", (event) => choose({ interval: event.target.value }));

// --- time zone ---------------------------------------------------------------------------------------------------

function setZone(wanted) {
  zone = wanted;
  $("zone").value = zone;
  chart.setZone(zone);
  showClock();
  showFeed();
  showKline();
  showPast();
  drawValues();
}

function showClock() {
  if (lastMessage !== null) $("clock").textContent = clock(lastMessage, 1000, zone);
  $("clock-zone").textContent = zoneName(lastMessage ?? Date.now(), zone);
}

$("zone").options[1].textContent = `local time (${zoneName(Date.now(), "local")})`;
$("zone").addEventListener("change", ({ target }) => {
  setZone(target.value);
  if (chosen !== null) showChoice();
});

// --- what consumers publish ---------------------------------------------------------------------------------------

function of(topic) {
  return published.find((one) => one.topic === topic);
}

/** Offers the series for the selected symbol and interval; the user may switch each off. */
function offerValues() {
  if (chosen === null) return;
  const found = relevant(known, chosen.interval, chosen.symbol);
  const same = found.length === published.length && found.every(({ topic }, at) => published[at].topic === topic);
  if (!same) {
    published = found.map((one, at) => of(one.topic) ?? { ...one, color: COLORS[at % COLORS.length], values: new Values(), isNew: true });
    for (const one of published.filter(({ isNew }) => isNew)) {
      if (shown().length > DRAWN_AT_FIRST) hidden.add(one.label);
      one.isNew = false;
    }
    $("values").hidden = published.length === 0;
    $("values").replaceChildren($("values").firstElementChild, ...published.map(choice));
  }
  followValues();
}

/** Returns the checkbox of a series. Names are untrusted: they are inserted as text, never as markup. */
function choice({ label, color }) {
  const [box, dot, text] = ["input", "i", "span"].map((tag) => document.createElement(tag));
  Object.assign(box, { type: "checkbox", name: "values", value: label, checked: !hidden.has(label) });
  dot.className = "dot";
  dot.style.background = color;
  text.textContent = label;
  const whole = document.createElement("label");
  whole.append(box, dot, text);
  return whole;
}

function shown() {
  return published.filter(({ label }) => !hidden.has(label)).slice(0, MAX_DRAWN);
}

function followValues() {
  stream.follow(shown().map(({ topic }) => topic));
  drawValues();
}

/** Draws with the next animation frame, because many values may arrive at once. */
function drawValues() {
  if (valuesFrame === 0) valuesFrame = requestAnimationFrame(drawValuesNow);
}

function drawValuesNow() {
  valuesFrame = 0;
  chart.overlay(shown(), Number(series.last?.close ?? 0));
  const all = shown().flatMap(({ label, values }) => values.all().map((value) => ({ label, ...value })));
  const lines = all.filter(({ line }) => line !== undefined).sort((a, b) => b.start - a.start);
  const notes = lines.slice(0, MAX_NOTES).map(({ label, start, line }) => {
    const text = `${moment(start, length(chosen.interval), zone)} ${label}: ${line}`;
    return Object.assign(document.createElement("li"), { textContent: text });
  });
  $("notes").hidden = notes.length === 0;
  $("notes").replaceChildren(...notes);
}

$("values").addEventListener("change", ({ target }) => {
  if (target.checked) hidden.delete(target.value);
  else hidden.add(target.value);
  followValues();
});
setInterval(() => stream.listTopics(), LIST_EVERY);

// --- the fields of a kline ---------------------------------------------------------------------------------------

const fields = new Fields($("fields"));

function showKline() {
  const last = series.last;
  const kline = pointedKline();
  const isMissing = kline === undefined && last !== undefined;
  $("name").textContent = chosen === null ? "\u00a0" : `${chosen.symbol} · ${chosen.interval}`;
  fields.show(kline, isMissing ? { start: pointed, interval: chosen.interval } : null, zone);
  $("fields").dataset.pointed = kline !== last;
  const price = last === undefined ? "" : padded(last.close, last.price_decimals);
  $("price").textContent = price || "\u00a0";
  $("price").dataset.side = last !== undefined && Number(last.close) < Number(last.open) ? "down" : "up";
  showPhase();
  showEmpty();
  showTitle();
}

/** Returns the kline under the pointer, or the newest one if the pointer is elsewhere; `undefined` in a gap. */
function pointedKline() {
  return pointed === null ? series.last : series.get(pointed);
}

/** Shows whether the kline is closed, and when an open one closes by the server's clock. */
function showPhase() {
  const kline = pointedKline();
  const left = kline === undefined ? 0 : kline.end + 1 - Date.now() - stream.clockOffset;
  $("phase").dataset.phase = kline === undefined ? "" : kline.confirm ? "closed" : "open";
  const until = left > 0 && length(kline?.interval ?? "1s") > 1000 ? `, closes in ${rest(left)}` : "";
  $("phase").textContent = kline === undefined ? "" : kline.confirm ? "closed" : `open${until}`;
}

function showEmpty() {
  const empty = series.last === undefined && chosen !== null && state.name === "live";
  $("empty").hidden = !empty;
  $("empty").textContent = empty ? `Waiting for the first kline of ${chosen.symbol} · ${chosen.interval}` : "";
}

setInterval(() => {
  showCountdown();
  showPhase();
}, 500);

// --- older klines ------------------------------------------------------------------------------------------------

/** Shows klines that have come in bulk. */
function showSeries() {
  chart.redraw();
  showKline();
  drawValues();
}

/** Loads older klines when the oldest one is less than a screen away. */
function reach(screens) {
  isAtOldest = screens <= 0;
  if (screens < 1) past.more();
  showPast();
}

function showPast() {
  const text = isAtOldest ? past.text(zone) : "";
  $("past").textContent = text;
  $("past").hidden = text === "";
}

// --- pointing ----------------------------------------------------------------------------------------------------

function point(start) {
  pointed = start;
  showKline();
}

const STEPS = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };

$("chart").addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key in STEPS && series.last !== undefined) {
    const from = series.get(pointed) ?? series.last;
    const kline = series.neighbour(from.start, pointed === null && STEPS[event.key] === -1 ? 0 : STEPS[event.key]);
    chart.point(kline);
    point(kline.start);
    $("spoken").textContent = fields.spoken();
  } else if (event.key === "+" || event.key === "=") chart.zoom(1.25);
  else if (event.key === "-") chart.zoom(0.8);
  else if (event.key === "Escape") {
    chart.point(null);
    point(null);
  } else return;
  event.preventDefault();
});

showKline();
stream.connect();
