/**
 * The contract of klines as TypeScript functions: settings with checks, the log (`info` …), `emit`, `exact`,
 * `history` and `state`.
 *
 * This module belongs to your project: change it as you like. The contract itself is in `wit/v1`, its types are in
 * `contract.d.ts`.
 *
 * @module
 */

import { exact as exactRow, log, type Level } from "klines:consumer/host@1.2.0";
import { publish, type Value } from "klines:consumer/emit@1.2.0";
import { closed as closedKlines } from "klines:consumer/history@1.2.0";
import { delete as forget, get, listKeys, set } from "klines:consumer/state@1.2.0";
import type * as contract from "klines:consumer/types@1.2.0";

export type {
  Batch,
  Category,
  ExactKline,
  Failure,
  Interval,
  IntervalUnit,
  Kline,
  Problem,
  Quality,
  Subscription,
} from "klines:consumer/types@1.2.0";

/** The consumer that you write. Only `consume` is required. */
export interface Consumer {
  /** Returns the klines to subscribe to. Default: all closed klines. */
  subscription?(): contract.Subscription;
  /** Called once, before the first batch. */
  start?(): void;
  /**
   * Called for every batch. The same kline can be delivered again, with the same category, symbol, interval, start and
   * revision.
   */
  consume(batch: contract.Batch): void;
  /** Called once at the end, but not after a crash: flush your buffers here. */
  stop?(): void;
}

/** Describes how one value of the settings is read. */
export interface Setting<T> {
  /** What is expected, as words for the operator. */
  readonly expected: string;
  /** The default. A key without a default is required. */
  readonly otherwise?: T | undefined;
  /** Reads a value, or adds its error to `problems`; the result is not used in that case. */
  read(value: unknown, path: string, problems: contract.Problem[]): T;
}

export type Schema = Record<string, Setting<any>>;
/** The type of the settings that a schema reads. */
export type Settings<S extends Schema> = { [K in keyof S]: S[K] extends Setting<infer T> ? T : never };

/**
 * Creates the `consumer` that klines looks for. `schema` has the keys of `[consumers.NAME.settings]`; any other key is
 * refused.
 */
export function serve<S extends Schema>(schema: S, make: (settings: Settings<S>) => Consumer) {
  let own: Consumer | undefined;
  const whole = table(schema);
  const read = (text: string) => {
    const problems: contract.Problem[] = [];
    return { settings: whole.read(JSON.parse(text), "", problems), problems };
  };
  return {
    validate: (text: string) => read(text).problems,
    setup(text: string): contract.Subscription {
      const { settings, problems } = read(text);
      if (problems.length > 0) {
        throw fatal(problems.map((p) => `${p.path}: ${p.message}, expected ${p.expected}`).join("; "));
      }
      return guarded(() => {
        own = make(settings);
        return own.subscription?.() ?? closed();
      });
    },
    start: () => guarded(() => own?.start?.()),
    consume: (batch: contract.Batch) => guarded(() => own?.consume(batch)),
    stop: () => guarded(() => own?.stop?.()),
  };
}

/** Logs an error with its stack before it ends the instance, because klines does not receive the stack. */
function guarded<T>(call: () => T): T {
  try {
    return call();
  } catch (thrown) {
    if (thrown instanceof Error) error(`${thrown.name}: ${thrown.message} ${thrown.stack ?? ""}`);
    throw thrown;
  }
}

/** Subscribes to the closed klines of all symbols and intervals. */
export const closed = (): contract.Subscription => ({ symbols: [], intervals: [], closedOnly: true });

// Failures: `throw retry("…")` or `throw fatal("…")`.

/** The call fails for now: klines delivers the same batch again after a pause, until the call succeeds. */
export const retry = (reason: string): contract.Failure => ({ tag: "retry", val: reason });

/** The call fails for good: klines stops the consumer and shows the reason to the operator. */
export const fatal = (reason: string): contract.Failure => ({ tag: "fatal", val: reason });

// The log: `info("crossed", { symbol: "BTCUSDT" })` writes `crossed symbol=BTCUSDT`.

const at =
  (level: Level) =>
  (message: string, fields: Record<string, unknown> = {}): void => {
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
globalThis.console ??= {
  debug: (...words) => debug(words.join(" ")),
  log: (...words) => info(words.join(" ")),
  info: (...words) => info(words.join(" ")),
  warn: (...words) => warn(words.join(" ")),
  error: (...words) => error(words.join(" ")),
};

// Klines

/**
 * Emits a value of the series `name` for the kline in row `row` of the current batch: a number, or any JSON value.
 * Throws an Error if the name is not 1 to 32 characters of `a-z 0-9 _ -`, for NaN, and if a limit is exceeded.
 */
export function emit(row: number, name: string, value: unknown): void {
  const published: Value =
    typeof value === "number" ? { tag: "number", val: value } : { tag: "json", val: JSON.stringify(value) };
  publish(row, name, published);
}

/** Returns the exact digits of a row of the current batch: use them to store or show values, and floats to compute. */
export const exact = (row: number): contract.ExactKline => exactRow(row);

/**
 * Returns the last `count` closed klines, 1 to 1,000, whose windows start before `before`, oldest first. Call it in `start`
 * or `consume`: it has everything that was delivered to this consumer, and nothing that was not. The list is shorter if
 * klines has stored no more. Throws the reason if the consumer does not receive this symbol and interval, and if klines
 * stores nothing, as in a replay.
 */
export const history = (
  category: contract.Category,
  symbol: string,
  interval: contract.Interval,
  count: number,
  before = Number.MAX_SAFE_INTEGER,
): contract.Kline[] => closedKlines(category, symbol, interval, before, count);

const UNITS = { millisecond: "ms", second: "s", minute: "m", hour: "h", day: "D", week: "W", month: "M" } as const;

/** Returns an interval as in `klines.toml`, such as `1m` or `4h`. */
export const intervalText = (interval: contract.Interval): string => `${interval.count}${UNITS[interval.unit]}`;

/** Reads an interval such as `1m`. Use the largest unit, as klines do: `1h`, not `60m`. */
export function interval(text: string): contract.Interval {
  const [, count, unit] = /^([1-9]\d*)(ms|[smhDWM])$/.exec(text) ?? [];
  const found = Object.entries(UNITS).find(([, short]) => short === unit);
  if (!found) throw new Error(`${text} is not an interval such as 100ms, 1s, 1m, 4h, 1D, 1W or 1M`);
  return { count: Number(count), unit: found[0] as contract.IntervalUnit };
}

// State

/**
 * The state of the consumer, which survives crashes, restarts and new versions. A change is kept only if the current
 * call succeeds. Values can be any JSON value; they are stored in ASCII, because QuickJS has no TextEncoder.
 */
export const state = {
  /** Returns the value, or `undefined` if the key does not exist. */
  get<T = unknown>(key: string): T | undefined {
    const bytes = get(key);
    return bytes === null ? undefined : JSON.parse(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  },
  set(key: string, value: unknown): void {
    const escape = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
    const ascii = JSON.stringify(value).replace(/[^\0-\x7f]/g, escape);
    set(key, Uint8Array.from(ascii, (unit) => unit.charCodeAt(0)));
  },
  /** Removes a key and returns whether it existed. */
  delete: (key: string): boolean => forget(key),
  keys: (prefix = ""): string[] => listKeys(prefix),
};

// Settings

interface Range {
  from?: number;
  to?: number;
  otherwise?: number;
}

function setting<T>(expected: string, fits: (value: any) => boolean, otherwise: T | undefined): Setting<T> {
  return {
    expected,
    otherwise,
    read(value, path, problems) {
      if (!fits(value)) problems.push({ path, message: `is ${JSON.stringify(value)}`, expected });
      return value as T;
    },
  };
}

/** A whole number. */
export const whole = ({ from = -Infinity, to = Infinity, otherwise }: Range = {}): Setting<number> =>
  setting(`a whole number${span(from, to)}`, (v) => Number.isSafeInteger(v) && v >= from && v <= to, otherwise);

/** A number. */
export const number = ({ from = -Infinity, to = Infinity, otherwise }: Range = {}): Setting<number> =>
  setting(`a number${span(from, to)}`, (v) => typeof v === "number" && v >= from && v <= to, otherwise);

/** A text. */
export const text = ({ otherwise }: { otherwise?: string } = {}): Setting<string> =>
  setting("a text", (v) => typeof v === "string", otherwise);

/** True or false. */
export const flag = ({ otherwise }: { otherwise?: boolean } = {}): Setting<boolean> =>
  setting("true or false", (v) => typeof v === "boolean", otherwise);

/** A list. */
export const list = <T>(item: Setting<T>, { otherwise }: { otherwise?: T[] } = {}): Setting<T[]> => ({
  expected: "a list",
  otherwise,
  read(value, path, problems) {
    if (Array.isArray(value)) return value.map((one, index) => item.read(one, `${path}.${index}`, problems));
    problems.push({ path, message: `is ${JSON.stringify(value)}`, expected: "a list" });
    return [];
  },
});

/** A table with any keys. */
export const map = <T>(
  item: Setting<T>,
  { otherwise }: { otherwise?: Record<string, T> } = {},
): Setting<Record<string, T>> => ({
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

/** A table with these keys and no others. */
export const table = <S extends Schema>(schema: S): Setting<Settings<S>> => ({
  expected: "a table",
  read(value, path, problems) {
    const prefix = path && `${path}.`;
    const found: Record<string, unknown> = {};
    if (!isTable(value)) {
      problems.push({ path, message: `is ${JSON.stringify(value)}`, expected: "a table" });
      return found as Settings<S>;
    }
    for (const key of Object.keys(value).filter((key) => !Object.hasOwn(schema, key))) {
      const expected = Object.keys(schema).join(", ") || "no key at all";
      problems.push({ path: prefix + key, message: "unknown key", expected });
    }
    for (const [key, item] of Object.entries(schema)) {
      if (Object.hasOwn(value, key)) found[key] = item.read(value[key], prefix + key, problems);
      else if (item.otherwise !== undefined) found[key] = item.otherwise;
      else problems.push({ path: prefix + key, message: "missing key", expected: item.expected });
    }
    return found as Settings<S>;
  },
});

const isTable = (v: unknown): v is Record<string, unknown> => typeof v === "object" && v !== null && !Array.isArray(v);

function span(from: number, to: number): string {
  if (Number.isFinite(from)) return Number.isFinite(to) ? ` from ${from} to ${to}` : ` from ${from} up`;
  return Number.isFinite(to) ? ` up to ${to}` : "";
}
