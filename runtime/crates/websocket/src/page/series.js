// The klines of one topic, by start. Knows neither the connection nor the chart.

/** How many klines are kept; the oldest go first. */
const CAPACITY = 5000;
/** Room above it, so that dropping the oldest is rare: the chart is then drawn anew. */
const SLACK = 500;

/** What a change asks of whoever draws. */
export const Change = { none: "none", update: "update", redraw: "redraw" };

export class Series {
  #klines = new Map();
  #starts = [];

  /** Takes a snapshot in place of everything held. */
  reset(klines) {
    this.#klines = new Map(klines.map((kline) => [kline.start, kline]));
    this.#starts = [...this.#klines.keys()].sort((a, b) => a - b);
  }

  /** Takes one push: a new kline, an update of the open one, or a revision of any. */
  put(kline) {
    const held = this.#klines.get(kline.start);
    if (held) {
      const older = held.confirm && (!kline.confirm || kline.revision < held.revision);
      if (older) return Change.none;
      this.#klines.set(kline.start, kline);
      return Change.update;
    }
    const newest = this.#starts.at(-1);
    this.#klines.set(kline.start, kline);
    this.#starts.push(kline.start);
    if (newest !== undefined && kline.start < newest) {
      this.#starts.sort((a, b) => a - b);
      return Change.redraw;
    }
    if (this.#starts.length > CAPACITY + SLACK) {
      for (const start of this.#starts.splice(0, SLACK)) this.#klines.delete(start);
      return Change.redraw;
    }
    return Change.update;
  }

  get(start) {
    return this.#klines.get(start);
  }

  get last() {
    return this.#klines.get(this.#starts.at(-1));
  }

  /** The kline `steps` after (before, if negative) the one that starts at `start`, stopping at either end. */
  neighbour(start, steps) {
    const at = this.#starts.indexOf(start);
    const wanted = Math.min(Math.max(at + steps, 0), this.#starts.length - 1);
    return this.#klines.get(this.#starts[wanted]);
  }

  /** All klines, oldest first. */
  all() {
    return this.#starts.map((start) => this.#klines.get(start));
  }
}
