// Volume spikes: emits a score of how unusual the volume of each closed kline is, and a `spike` if the score reaches a
// threshold.
//
// Volumes have long tails, so the score uses the median of the last volumes and the median absolute deviation (MAD)
// from it. With a mean and a standard deviation, one spike would hide the next.

import { emit, info, intervalText, number, serve, whole, type Batch, type Consumer, type Kline } from "./klines.js";

/** The keys of `[consumers.volume-spike.settings]`. */
const settings = {
  /** The number of klines that a volume is compared with. */
  window: whole({ from: 5, to: 1000, otherwise: 30 }),
  /** The lowest score of a spike. */
  threshold: number({ from: 1, otherwise: 5 }),
};

/** The ratio of MAD to standard deviation in a normal distribution: it scales scores to standard deviations. */
const NORMAL = 0.6745;

/** A spike, as clients receive it. */
interface Spike {
  volume: number;
  median: number;
  score: number;
  /** The part of the volume whose taker was the buyer, 0 to 1. */
  bought: number;
}

/** The last volumes of one symbol and interval. */
class Volumes {
  private readonly values: number[] = [];
  private newest = -1;

  constructor(private readonly window: number) {}

  /** Adds a kline; returns its score against the klines before it if there are `window` of them. */
  add(kline: Kline): { median: number; score: number } | undefined {
    // A correction of an older kline, or a kline that was delivered before.
    if (kline.start <= this.newest) return undefined;
    this.newest = kline.start;
    const scored = this.values.length === this.window ? this.score(kline.volume) : undefined;
    this.values.push(kline.volume);
    if (this.values.length > this.window) this.values.shift();
    return scored;
  }

  private score(volume: number): { median: number; score: number } | undefined {
    const middle = median(this.values);
    const spread = median(this.values.map((value) => Math.abs(value - middle)));
    // If more than half of the volumes are equal, as in illiquid markets, there is no score.
    return spread > 0 ? { median: middle, score: (NORMAL * (volume - middle)) / spread } : undefined;
  }
}

class Spikes implements Consumer {
  private readonly series = new Map<string, Volumes>();

  constructor(
    private readonly window: number,
    private readonly threshold: number,
  ) {}

  consume(batch: Batch): void {
    for (const [row, kline] of batch.klines.entries()) {
      // The volume of a kline that misses trades is too low, so it is neither scored nor used for scores.
      if (kline.quality === "partial" || kline.quality === "gapped") continue;
      const interval = intervalText(kline.interval);
      const scored = this.volumes(`${kline.category} ${kline.symbol} ${interval}`).add(kline);
      if (scored === undefined) continue;
      emit(row, "score", scored.score);
      if (scored.score < this.threshold) continue;
      const spike: Spike = { ...scored, volume: kline.volume, bought: kline.buyVolume / kline.volume };
      emit(row, "spike", spike);
      const fields = { volume: kline.volume, median: spike.median, score: spike.score.toFixed(1) };
      info(`${kline.symbol} ${interval} volume spike`, fields);
    }
  }

  private volumes(key: string): Volumes {
    let volumes = this.series.get(key);
    if (!volumes) this.series.set(key, (volumes = new Volumes(this.window)));
    return volumes;
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return low === undefined || high === undefined ? 0 : (low + high) / 2;
}

export const consumer = serve(settings, ({ window, threshold }) => new Spikes(window, threshold));
