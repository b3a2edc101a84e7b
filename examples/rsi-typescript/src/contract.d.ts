// The types of the contract `klines:consumer@1.2.0` in the form that componentize-qjs gives them. `wit/v1`
// describes them.

declare module "klines:consumer/types@1.2.0" {
  /** A product category of Bybit. The same symbol name exists in several categories. */
  export type Category = "linear" | "spot" | "inverse" | "option";

  export type IntervalUnit = "millisecond" | "second" | "minute" | "hour" | "day" | "week" | "month";

  /** The length of a window, in the largest unit that gives a whole number: one hour, not 60 minutes. */
  export interface Interval {
    count: number;
    unit: IntervalUnit;
  }

  /** How complete a kline is. */
  export type Quality = "complete" | "partial" | "gapped" | "repaired";

  /** One candlestick. Integers of 64 bits become numbers, because times and counts are far below 2⁵³. */
  export interface Kline {
    category: Category;
    symbol: string;
    interval: Interval;
    /** First millisecond of the window. Times are milliseconds since 1970, UTC. */
    start: number;
    /** Last millisecond of the window. */
    end: number;
    /** The float nearest to the exact decimal, like all prices and amounts; `exact` returns the digits. */
    open: number;
    high: number;
    low: number;
    close: number;
    volume: number;
    turnover: number;
    /** The part of `volume` whose taker was the buyer. */
    buyVolume: number;
    buyTurnover: number;
    priceDecimals: number;
    volumeDecimals: number;
    trades: number;
    /** 0 when the window has no trade. */
    lastTradeTime: number;
    /** Whether the window is over. This is final: a correction is another confirmed kline with a higher revision. */
    confirm: boolean;
    revision: number;
    quality: Quality;
    /** +1 for each confirmed kline or revision of this category, symbol and interval. */
    sequence: number;
    /** Exchange time at which klines made this kline. */
    emitted: number;
  }

  /** The exact decimal digits of one kline. */
  export type ExactKline = Record<
    "open" | "high" | "low" | "close" | "volume" | "turnover" | "buyVolume" | "buyTurnover",
    string
  >;

  export interface Batch {
    klines: Kline[];
    /** The number of closed klines that were dropped and will not be delivered; usually 0. */
    lost: number;
  }

  /** The value that a failing call throws. */
  export type Failure = { tag: "retry"; val: string } | { tag: "fatal"; val: string };

  /** One error in the settings; the steps of `path` are separated by dots. */
  export interface Problem {
    path: string;
    message: string;
    expected: string;
  }

  /** Selects the klines of a consumer; empty lists mean all. */
  export interface Subscription {
    symbols: string[];
    intervals: Interval[];
    closedOnly: boolean;
  }
}

declare module "klines:consumer/host@1.2.0" {
  import type { ExactKline } from "klines:consumer/types@1.2.0";
  export type Level = "trace" | "debug" | "info" | "warn" | "error";
  export function log(level: Level, message: string): void;
  export function exact(row: number): ExactKline;
  export function terminal(): { columns: number; colour: boolean } | null;
}

declare module "klines:consumer/emit@1.2.0" {
  export type Value = { tag: "number"; val: number } | { tag: "json"; val: string };
  /** Throws the reason, a text, if the value is refused. */
  export function publish(row: number, name: string, value: Value): void;
}

declare module "klines:consumer/history@1.2.0" {
  import type { Category, Interval, Kline } from "klines:consumer/types@1.2.0";
  /** Throws the reason, a text, if the klines cannot be read. */
  export function closed(
    category: Category,
    symbol: string,
    interval: Interval,
    before: number,
    limit: number,
  ): Kline[];
}

declare module "klines:consumer/state@1.2.0" {
  export function get(key: string): Uint8Array | null;
  /** Throws the reason, a text, if the value is refused. */
  export function set(key: string, value: Uint8Array): void;
  function forget(key: string): boolean;
  export { forget as delete };
  export function listKeys(prefix: string): string[];
}

// `klines.ts` defines it.
declare var console: Record<"debug" | "log" | "info" | "warn" | "error", (...words: unknown[]) => void>;
