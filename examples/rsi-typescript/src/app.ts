// The relative strength index of the closes, right from the first batch: it reads the closes before it in `start`.
//
// Gains and losses have equal weights (Cutler's RSI), so that a value depends on the last `period` + 1 closes alone: an
// instance that has just started and one that has run for days emit the same values.

import {
  emit,
  history,
  info,
  interval,
  intervalText,
  list,
  serve,
  text,
  warn,
  whole,
  type Batch,
  type Category,
  type Consumer,
  type Kline,
} from "./klines.js";

/** The keys of `[consumers.rsi.settings]`. */
const settings = {
  /** The symbols whose index is emitted. */
  symbols: list(text()),
  /** The intervals. */
  intervals: list(text(), { otherwise: ["1m"] }),
  /** The number of changes in the index. */
  period: whole({ from: 2, to: 500, otherwise: 14 }),
};

/** The categories in which a symbol may exist. */
const CATEGORIES: Category[] = ["linear", "spot", "inverse"];
/** The closes that are kept in addition, for corrections of older klines. */
const SPARE = 10;

/** The last closes of one series, by the start of their window. */
class Closes {
  private readonly byStart = new Map<number, number>();

  constructor(private readonly period: number) {}

  /** Adds or corrects a close. */
  add(kline: Kline): void {
    this.byStart.set(kline.start, kline.close);
    while (this.byStart.size > this.period + 1 + SPARE) this.byStart.delete(Math.min(...this.byStart.keys()));
  }

  /** Returns the index at the window that starts at `start`; `undefined` if there are too few closes before it. */
  rsi(start: number): number | undefined {
    const known = [...this.byStart].filter(([at]) => at <= start).sort(([one], [other]) => one - other);
    const closes = known.slice(-this.period - 1).map(([, close]) => close);
    if (closes.length <= this.period) return undefined;
    let [gains, losses] = [0, 0];
    closes.slice(1).forEach((close, at) => {
      const change = close - (closes[at] ?? close);
      gains += Math.max(change, 0);
      losses += Math.max(-change, 0);
    });
    const moved = gains + losses;
    // Without a change the index is neutral.
    return moved > 0 ? (100 * gains) / moved : 50;
  }
}

class Rsi implements Consumer {
  private readonly series = new Map<string, Closes>();

  constructor(
    private readonly symbols: string[],
    private readonly intervals: string[],
    private readonly period: number,
  ) {}

  subscription() {
    return { symbols: this.symbols, intervals: this.intervals.map(interval), closedOnly: true };
  }

  /** Reads the closes that were there before this instance. */
  start(): void {
    let closes = 0;
    try {
      for (const symbol of this.symbols) {
        for (const one of this.intervals.map(interval)) {
          for (const category of CATEGORIES) {
            for (const kline of history(category, symbol, one, this.period + 1 + SPARE)) {
              this.closes(kline).add(kline);
              closes += 1;
            }
          }
        }
      }
    } catch (reason) {
      // In a demo and in a replay there is no past: the index begins when there are enough klines.
      warn("begins without the past", { reason });
      return;
    }
    info("read the past", { closes });
  }

  consume(batch: Batch): void {
    batch.klines.forEach((kline, row) => {
      const closes = this.closes(kline);
      closes.add(kline);
      const rsi = closes.rsi(kline.start);
      // Clients of `/v1/stream` receive it on the topic `ext.rsi.rsi.INTERVAL.SYMBOL`.
      if (rsi !== undefined) emit(row, "rsi", rsi);
    });
  }

  /** Returns the closes of the series of a kline. */
  private closes(kline: Kline): Closes {
    const key = `${kline.category} ${kline.symbol} ${intervalText(kline.interval)}`;
    const known = this.series.get(key) ?? new Closes(this.period);
    this.series.set(key, known);
    return known;
  }
}

export const consumer = serve(settings, ({ symbols, intervals, period }) => new Rsi(symbols, intervals, period));
