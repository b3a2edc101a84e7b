// The klines of one topic, by start. Does not know the connection or the chart.

/** The number of klines that are kept; the oldest are dropped first. */
const CAPACITY = 5000;
/** Klines above the capacity before the oldest are dropped: that is rare, because it redraws the chart. */
const SLACK = 500;

/** What has to be drawn after a change. */
export const Change = { none: "none", update: "update", redraw: "redraw" };

export class Series {
  #klines = new Map();
  #starts = [];
  /** Klines that start earlier are not kept: those between them and the kept ones are not known here. */
  #from = -Infinity;

  /** Replaces all klines with a snapshot; `isCut` says that the server has older ones. */
  reset(klines, isCut = false) {
    this.#klines = new Map(klines.map((kline) => [kline.start, kline]));
    this.#starts = [...this.#klines.keys()].sort((a, b) => a - b);
    this.#from = isCut ? this.#starts[0] : -Infinity;
  }

  /**
   * Stores one push: a new kline, an update of the open one, a revision, or the first version of an older window that
   * was missing. Returns what has to be drawn.
   */
  put(kline) {
    if (kline.start < this.#from) return Change.none;
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
      this.#from = this.#starts[0];
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

  /** Returns the kline `steps` after (before, if negative) the one that starts at `start`; stops at either end. */
  neighbour(start, steps) {
    const at = this.#starts.indexOf(start);
    const wanted = Math.min(Math.max(at + steps, 0), this.#starts.length - 1);
    return this.#klines.get(this.#starts[wanted]);
  }

  /** Returns all klines, oldest first. */
  all() {
    return this.#starts.map((start) => this.#klines.get(start));
  }
}
