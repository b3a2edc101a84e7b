// The types of the contract `klines:consumer@{{contract}}`, as componentize-qjs hands them over. `wit/v1` says what they mean.

declare module "klines:consumer/types@{{contract}}" {
  /** Bybit's product category. The same symbol name exists in several. */
  export type Category = "linear" | "spot" | "inverse" | "option";

  export type IntervalUnit = "millisecond" | "second" | "minute" | "hour" | "day" | "week" | "month";

  /** How long a window is, in the largest unit that is a whole number: one hour, not 60 minutes. */
  export interface Interval {
    count: number;
    unit: IntervalUnit;
  }

  /** How much a kline is known to be worth. */
  export type Quality = "complete" | "partial" | "gapped" | "repaired";

  /** One candlestick. Whole numbers of 64 bits are numbers: times and counts are far below 2⁵³. */
  export interface Kline {
    category: Category;
    symbol: string;
    interval: Interval;
    /** First millisecond of the window. Times are milliseconds since 1970, UTC. */
    start: number;
    /** Last millisecond of the window. */
    end: number;
    /** The nearest float of the exact decimal, as all prices and amounts are; `exact` has the digits. */
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
    /** The window is over. Never taken back: a correction is a confirmed kline with a higher revision. */
    confirm: boolean;
    revision: number;
    quality: Quality;
    /** +1 for each confirmed kline or revision of this category, symbol and interval. */
    sequence: number;
    /** Exchange time at which the runtime made this record. */
    emitted: number;
  }

  /** The decimal digits of one kline, exactly. */
  export type ExactKline = Record<
    "open" | "high" | "low" | "close" | "volume" | "turnover" | "buyVolume" | "buyTurnover",
    string
  >;

  export interface Batch {
    klines: Kline[];
    /** Closed klines that will never come; 0 unless something went wrong. */
    lost: number;
  }

  /** What a call throws that does not succeed. */
  export type Failure = { tag: "retry"; val: string } | { tag: "fatal"; val: string };

  /** One thing that is wrong with the settings; `path` is dotted. */
  export interface Problem {
    path: string;
    message: string;
    expected: string;
  }

  /** What the consumer wants to receive; empty lists mean all. */
  export interface Subscription {
    symbols: string[];
    intervals: Interval[];
    closedOnly: boolean;
  }
}

declare module "klines:consumer/host@{{contract}}" {
  import type { ExactKline } from "klines:consumer/types@{{contract}}";
  export type Level = "trace" | "debug" | "info" | "warn" | "error";
  export function log(level: Level, message: string): void;
  export function exact(row: number): ExactKline;
  export function terminal(): { columns: number; colour: boolean } | null;
}

declare module "klines:consumer/emit@{{contract}}" {
  export type Value = { tag: "number"; val: number } | { tag: "json"; val: string };
  /** Throws the reason, a text, if it is refused. */
  export function publish(row: number, name: string, value: Value): void;
}

declare module "klines:consumer/state@{{contract}}" {
  export function get(key: string): Uint8Array | null;
  /** Throws the reason, a text, if it is refused. */
  export function set(key: string, value: Uint8Array): void;
  function forget(key: string): boolean;
  export { forget as delete };
  export function listKeys(prefix: string): string[];
}

// `klines.ts` makes it.
declare var console: Record<"debug" | "log" | "info" | "warn" | "error", (...words: unknown[]) => void>;
