// Volume spikes: emits how unusual each closed kline's volume is, and a `spike` where it is beyond a threshold.
//
// Volumes have long tails, so the yardstick is the median and the median distance from it (MAD) of the last klines: one
// spike does not hide the next, as it would with a mean and a standard deviation.

import { emit, info, intervalText, number, serve, whole, type Batch, type Consumer, type Kline } from "./klines.js";

/** What the operator may write under `[consumers.volume-spike.settings]`. */
const settings = {
  /** Klines that are looked back on. */
  window: whole({ from: 5, to: 1000, otherwise: 30 }),
  /** Score from which a volume is a spike. */
  threshold: number({ from: 1, otherwise: 5 }),
};

/** For a normal distribution the MAD is this part of the standard deviation: scores read like its multiples. */
const NORMAL = 0.6745;

/** A spike as clients see it. */
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

  /** Scores a kline against those before it, once there are enough, and adds it to them. */
  add(kline: Kline): { median: number; score: number } | undefined {
    // A correction, or a kline that was delivered before.
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
    // More than half of them are equal, which thin markets do: nothing can be said.
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
      // What is known to miss trades has too little volume: neither a spike nor a yardstick.
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
