// @ts-check
/**
 * The contract of klines as JavaScript functions: settings with checks, the log (`info` …), `emit`, `exact`,
 * `history` and `state`.
 *
 * This module belongs to your project: change it as you like. The contract itself is in `wit/v1`.
 *
 * @module
 */

// @ts-ignore: componentize-qjs generates this module from wit/v1
import { exact as exactRow, log } from "klines:consumer/host@{{contract}}";
// @ts-ignore: componentize-qjs generates this module from wit/v1
import { publish } from "klines:consumer/emit@{{contract}}";
// @ts-ignore: componentize-qjs generates this module from wit/v1
import { closed as closedKlines } from "klines:consumer/history@{{contract}}";
// @ts-ignore: componentize-qjs generates this module from wit/v1
import { delete as forget, get, listKeys, set } from "klines:consumer/state@{{contract}}";

/**
 * @typedef {"linear" | "spot" | "inverse" | "option"} Category
 * @typedef {"millisecond" | "second" | "minute" | "hour" | "day" | "week" | "month"} IntervalUnit
 * @typedef {"complete" | "partial" | "gapped" | "repaired"} Quality
 * @typedef {{ count: number, unit: IntervalUnit }} Interval In the largest unit that gives a whole number: one hour, not 60 minutes.
 *
 * @typedef {object} Kline One candlestick. Times are milliseconds since 1970, UTC.
 * @property {Category} category
 * @property {string} symbol
 * @property {Interval} interval
 * @property {number} start First millisecond of the window.
 * @property {number} end Last millisecond of the window.
 * @property {number} open The float nearest to the exact decimal, like all prices and amounts; `exact` returns the digits.
 * @property {number} high
 * @property {number} low
 * @property {number} close
 * @property {number} volume
 * @property {number} turnover
 * @property {number} buyVolume The part of `volume` whose taker was the buyer.
 * @property {number} buyTurnover
 * @property {number} priceDecimals
 * @property {number} volumeDecimals
 * @property {number} trades
 * @property {number} lastTradeTime 0 when the window has no trade.
 * @property {boolean} confirm Whether the window is over.
 * @property {number} revision 0 for the first confirmed kline of a window, +1 for each correction.
 * @property {Quality} quality
 * @property {number} sequence +1 for each confirmed kline of this category, symbol and interval.
 * @property {number} emitted Exchange time at which klines made this kline.
 *
 * @typedef {{ klines: Kline[], lost: number }} Batch `lost`: closed klines that were dropped and never arrive; usually 0.
 * @typedef {{ symbols: string[], intervals: Interval[], closedOnly: boolean }} Subscription Empty lists mean all.
 * @typedef {{ path: string, message: string, expected: string }} Problem
 * @typedef {Record<"open" | "high" | "low" | "close" | "volume" | "turnover" | "buyVolume" | "buyTurnover", string>} ExactKline
 *
 * @typedef {object} Consumer The consumer that you write. Only `consume` is required.
 * @property {() => Subscription} [subscription] Returns the klines to subscribe to. Default: all closed klines.
 * @property {() => void} [start] Called once, before the first batch.
 * @property {(batch: Batch) => void} consume Called for every batch. The same kline can be delivered again.
 * @property {() => void} [stop] Called once at the end, but not after a crash: flush your buffers here.
 */

/**
 * @template T
 * @typedef {object} Setting
 * @property {string} expected What is expected, as words for the operator.
 * @property {T | undefined} otherwise The default. A key without a default is required.
 * @property {(value: any, path: string, problems: Problem[]) => T} read Reads a value, or adds its error to `problems`.
 */

/**
 * Creates the `consumer` that klines looks for.
 *
 * @template {Record<string, Setting<any>>} S
 * @param {S} schema The keys of `[consumers.NAME.settings]`. Any other key is refused.
 * @param {(settings: { [K in keyof S]: S[K] extends Setting<infer T> ? T : never }) => Consumer} make
 */
export function serve(schema, make) {
  /** @type {Consumer} */
  let own;
  const whole = table(schema);
  /** @param {string} text */
  const read = (text) => {
    /** @type {Problem[]} */
    const problems = [];
    return { settings: whole.read(JSON.parse(text), "", problems), problems };
  };
  return {
    validate: (/** @type {string} */ text) => read(text).problems,
    setup(/** @type {string} */ text) {
      const { settings, problems } = read(text);
      if (problems.length > 0) {
        throw fatal(problems.map((p) => `${p.path}: ${p.message}, expected ${p.expected}`).join("; "));
      }
      return guarded(() => {
        own = make(/** @type {any} */ (settings));
        return own.subscription?.() ?? closed();
      });
    },
    start: () => guarded(() => own.start?.()),
    consume: (/** @type {Batch} */ batch) => guarded(() => own.consume(batch)),
    stop: () => guarded(() => own.stop?.()),
  };
}

/** Logs an error with its stack before it ends the instance, because klines does not receive the stack. */
function guarded(/** @type {() => any} */ call) {
  try {
    return call();
  } catch (thrown) {
    if (thrown instanceof Error) error(`${thrown.name}: ${thrown.message} ${thrown.stack ?? ""}`);
    throw thrown;
  }
}

/** Subscribes to the closed klines of all symbols and intervals. @returns {Subscription} */
export const closed = () => ({ symbols: [], intervals: [], closedOnly: true });

// Failures: `throw retry("…")` or `throw fatal("…")`.

/** The call fails for now: klines delivers the same batch again after a pause, until the call succeeds. */
export const retry = (/** @type {string} */ reason) => ({ tag: "retry", val: reason });

/** The call fails for good: klines stops the consumer and shows the reason to the operator. */
export const fatal = (/** @type {string} */ reason) => ({ tag: "fatal", val: reason });

// The log: `info("crossed", { symbol: "BTCUSDT" })` writes `crossed symbol=BTCUSDT`.

/** @typedef {(message: string, fields?: Record<string, unknown>) => void} Log */

/** @returns {Log} */
const at = (/** @type {"trace" | "debug" | "info" | "warn" | "error"} */ level) => (message, fields = {}) => {
  for (const [name, value] of Object.entries(fields)) {
    const text = String(value);
    message += ` ${name}=${text === "" || text.includes(" ") ? JSON.stringify(text) : text}`;
  }
  log(level, message);
};

export const trace = at("trace");
export const debug = at("debug");
export const info = at("info");
/** For a fault from which the consumer recovered. */
export const warn = at("warn");
/** For a fault that an operator must act on. */
export const error = at("error");

// QuickJS has no console: this one writes to the log.
globalThis.console ??= /** @type {any} */ ({
  debug: (/** @type {unknown[]} */ ...words) => debug(words.join(" ")),
  log: (/** @type {unknown[]} */ ...words) => info(words.join(" ")),
  info: (/** @type {unknown[]} */ ...words) => info(words.join(" ")),
  warn: (/** @type {unknown[]} */ ...words) => warn(words.join(" ")),
  error: (/** @type {unknown[]} */ ...words) => error(words.join(" ")),
});

// Klines

/**
 * Emits a value of the series `name` for the kline in row `row` of the current batch: a number, or any JSON value.
 * Throws an Error if the name is not 1 to 32 characters of `a-z 0-9 _ -`, for NaN, and if a limit is exceeded.
 *
 * @param {number} row
 * @param {string} name
 * @param {unknown} value
 */
export function emit(row, name, value) {
  const published = typeof value === "number" ? { tag: "number", val: value } : { tag: "json", val: JSON.stringify(value) };
  publish(row, name, published);
}

/** Returns the exact digits of a row of the current batch; use them to store or show values. @returns {ExactKline} */
export const exact = (/** @type {number} */ row) => exactRow(row);

/**
 * Returns the last `count` closed klines, 1 to 1,000, whose windows start before `before`, oldest first. Call it in `start`
 * or `consume`: it has everything that was delivered to this consumer, and nothing that was not. The list is shorter if
 * klines has stored no more. Throws the reason if the consumer does not receive this symbol and interval, and if klines
 * stores nothing, as in a replay.
 *
 * @param {Category} category
 * @param {string} symbol
 * @param {Interval} interval
 * @param {number} count
 * @returns {Kline[]}
 */
export const history = (category, symbol, interval, count, before = Number.MAX_SAFE_INTEGER) =>
  closedKlines(category, symbol, interval, before, count);

const UNITS = { millisecond: "ms", second: "s", minute: "m", hour: "h", day: "D", week: "W", month: "M" };

/** Returns an interval as in `klines.toml`, such as `1m` or `4h`. */
export const intervalText = (/** @type {Interval} */ interval) => `${interval.count}${UNITS[interval.unit]}`;

/** Reads an interval such as `1m`. Use the largest unit, as klines do: `1h`, not `60m`. @returns {Interval} */
export function interval(/** @type {string} */ text) {
  const [, count, unit] = /^([1-9]\d*)(ms|[smhDWM])$/.exec(text) ?? [];
  const found = Object.entries(UNITS).find(([, short]) => short === unit);
  if (!found) throw new Error(`${text} is not an interval such as 100ms, 1s, 1m, 4h, 1D, 1W or 1M`);
  return { count: Number(count), unit: /** @type {IntervalUnit} */ (found[0]) };
}

// State

/**
 * The state of the consumer, which survives crashes, restarts and new versions. A change is kept only if the current
 * call succeeds. Values can be any JSON value; they are stored in ASCII, because QuickJS has no TextEncoder.
 */
export const state = {
  /** @returns {any} The value, or `undefined` if the key does not exist. */
  get(/** @type {string} */ key) {
    const bytes = get(key);
    return bytes === null ? undefined : JSON.parse(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  },
  set(/** @type {string} */ key, /** @type {unknown} */ value) {
    const ascii = JSON.stringify(value).replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
    set(key, Uint8Array.from(ascii, (unit) => unit.charCodeAt(0)));
  },
  /** @returns {boolean} Whether the key existed. */
  delete: (/** @type {string} */ key) => forget(key),
  /** @returns {string[]} */
  keys: (prefix = "") => listKeys(prefix),
};

// Settings

/**
 * @template T
 * @param {string} expected
 * @param {(value: any) => boolean} fits
 * @param {T | undefined} otherwise
 * @returns {Setting<T>}
 */
const setting = (expected, fits, otherwise) => ({
  expected,
  otherwise,
  read(value, path, problems) {
    if (!fits(value)) problems.push({ path, message: `is ${JSON.stringify(value)}`, expected });
    return value;
  },
});

/** A whole number. @param {{ from?: number, to?: number, otherwise?: number }} [range] @returns {Setting<number>} */
export const whole = ({ from = -Infinity, to = Infinity, otherwise } = {}) =>
  setting(`a whole number${span(from, to)}`, (v) => Number.isSafeInteger(v) && v >= from && v <= to, otherwise);

/** A number. @param {{ from?: number, to?: number, otherwise?: number }} [range] @returns {Setting<number>} */
export const number = ({ from = -Infinity, to = Infinity, otherwise } = {}) =>
  setting(`a number${span(from, to)}`, (v) => typeof v === "number" && v >= from && v <= to, otherwise);

/** A text. @param {{ otherwise?: string }} [or] @returns {Setting<string>} */
export const text = ({ otherwise } = {}) => setting("a text", (v) => typeof v === "string", otherwise);

/** True or false. @param {{ otherwise?: boolean }} [or] @returns {Setting<boolean>} */
export const flag = ({ otherwise } = {}) => setting("true or false", (v) => typeof v === "boolean", otherwise);

/**
 * A list. @template T @param {Setting<T>} item @param {{ otherwise?: T[] }} [or] @returns {Setting<T[]>}
 */
export const list = (item, { otherwise } = {}) => ({
  expected: "a list",
  otherwise,
  read(value, path, problems) {
    if (Array.isArray(value)) return value.map((one, index) => item.read(one, `${path}.${index}`, problems));
    problems.push({ path, message: `is ${JSON.stringify(value)}`, expected: "a list" });
    return [];
  },
});

/**
 * A table with any keys. @template T @param {Setting<T>} item @param {{ otherwise?: Record<string, T> }} [or]
 * @returns {Setting<Record<string, T>>}
 */
export const map = (item, { otherwise } = {}) => ({
  expected: "a table",
  otherwise,
  read(value, path, problems) {
    if (isTable(value)) {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, item.read(v, `${path}.${k}`, problems)]));
    }
    problems.push({ path, message: `is ${JSON.stringify(value)}`, expected: "a table" });
    return {};
  },
});

/** A table with these keys and no others. @param {Record<string, Setting<any>>} schema @returns {Setting<Record<string, any>>} */
export const table = (schema) => ({
  expected: "a table",
  otherwise: undefined,
  read(value, path, problems) {
    const prefix = path && `${path}.`;
    if (!isTable(value)) {
      problems.push({ path, message: `is ${JSON.stringify(value)}`, expected: "a table" });
      return {};
    }
    for (const key of Object.keys(value).filter((key) => !Object.hasOwn(schema, key))) {
      const expected = Object.keys(schema).join(", ") || "no key at all";
      problems.push({ path: prefix + key, message: "unknown key", expected });
    }
    /** @type {Record<string, any>} */
    const found = {};
    for (const [key, item] of Object.entries(schema)) {
      if (Object.hasOwn(value, key)) found[key] = item.read(value[key], prefix + key, problems);
      else if (item.otherwise !== undefined) found[key] = item.otherwise;
      else problems.push({ path: prefix + key, message: "missing key", expected: item.expected });
    }
    return found;
  },
});

const isTable = (/** @type {unknown} */ v) => typeof v === "object" && v !== null && !Array.isArray(v);
const span = (/** @type {number} */ from, /** @type {number} */ to) =>
  Number.isFinite(from) && Number.isFinite(to) ? ` from ${from} to ${to}`
  : Number.isFinite(from) ? ` from ${from} up`
  : Number.isFinite(to) ? ` up to ${to}`
  : "";
