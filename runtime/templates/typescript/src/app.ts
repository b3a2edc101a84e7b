// Emits the moving average of the closes for every closed kline, and logs when the close crosses the average.

import { emit, info, intervalText, serve, whole, type Batch, type Consumer, type Kline } from "./klines.js";

/** The last closes of one symbol and interval. */
class Average {
  readonly closes: number[] = [];
  /** Start of the newest kline in the average. */
  newest = -1;
  /** Whether the last close was above the average. */
  above: boolean | undefined;

  /** Adds a closed kline; returns the average once there are `period` of them. */
  add(kline: Kline, period: number): number | undefined {
    // A correction of an older kline, or a kline that was delivered before: it is in the average already.
    if (kline.start <= this.newest) return undefined;
    this.newest = kline.start;
    this.closes.push(kline.close);
    if (this.closes.length > period) this.closes.shift();
    if (this.closes.length < period) return undefined;
    return this.closes.reduce((sum, close) => sum + close, 0) / period;
  }
}

class MovingAverage implements Consumer {
  private readonly averages = new Map<string, Average>();

  constructor(private readonly period: number) {
    info("averaging closes", { period });
  }

  /** klines calls it for every batch of closed klines. (A method `subscription` can select other klines.) */
  consume(batch: Batch): void {
    for (const [row, kline] of batch.klines.entries()) {
      const interval = intervalText(kline.interval);
      const average = this.average(`${kline.category} ${kline.symbol} ${interval}`);
      const sma = average.add(kline, this.period);
      if (sma === undefined) continue;
      // Clients of `/v1/stream` receive it on the topic `ext.{{name}}.sma.INTERVAL.SYMBOL`.
      emit(row, "sma", sma);
      const above = kline.close > sma;
      if (average.above !== undefined && above !== average.above) {
        const direction = above ? "above" : "below";
        const fields = { close: kline.close, sma: sma.toFixed(4) };
        info(`${kline.symbol} ${interval} closed ${direction} its average`, fields);
      }
      average.above = above;
    }
  }

  private average(key: string): Average {
    let average = this.averages.get(key);
    if (!average) this.averages.set(key, (average = new Average()));
    return average;
  }
}

// The keys of `[consumers.{{name}}.settings]`. The helper module reports unknown keys and wrong values to the operator.
const settings = { period: whole({ from: 2, to: 1000, otherwise: 5 }) };

/** klines looks for an export with this name. */
export const consumer = serve(settings, ({ period }) => new MovingAverage(period));
