// The klines of one topic, by start. Does not know the connection or the chart.

/** The number of klines that are kept if older ones were not loaded; the oldest are dropped first. */
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
  /** The number of klines that are kept: more, if older ones were loaded. */
  #capacity = CAPACITY;
  /** The pushes of windows before `#from` since a page of older klines was asked for, by start; otherwise null. */
  #early = null;
  /** Whether there are no older klines than the oldest. */
  isWhole = false;

  /** Replaces all klines with a snapshot. */
  reset(klines) {
    this.#klines = new Map(klines.map((kline) => [kline.start, kline]));
    this.#sort();
    this.#from = this.#starts[0] ?? -Infinity;
    this.#capacity = CAPACITY;
    this.#early = null;
    this.isWhole = false;
  }

  /**
   * Stores one push: a new kline, an update of the open one, a revision, or the first version of an older window that
   * was missing. Returns what has to be drawn.
   */
  put(kline) {
    if (kline.start < this.#from) {
      this.#early?.set(kline.start, kline);
      return Change.none;
    }
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
      this.#sort();
      return Change.redraw;
    }
    if (this.#starts.length > this.#capacity + SLACK) {
      for (const start of this.#starts.splice(0, SLACK)) this.#klines.delete(start);
      this.#from = this.#starts[0];
      this.isWhole = false;
      return Change.redraw;
    }
    return Change.update;
  }

  /**
   * Prepares for a page of older klines. Returns the latest start to ask for, or null for the newest klines. Pushes of
   * older windows count from now on, because the page may have been read before them.
   */
  expect() {
    this.#early = new Map();
    return this.#end;
  }

  get #end() {
    return this.#from === -Infinity ? null : this.#from - 1;
  }

  /**
   * Adds a page of older klines that was asked for with `end`; an empty one says that there are none. Of a window that
   * was pushed as well, the page's kline is taken only if its revision is greater. Returns whether anything changed: a
   * page does not fit if the oldest klines were dropped meanwhile.
   */
  addOlder(page, end) {
    if (end !== this.#end) return false;
    const early = [...(this.#early?.values() ?? [])];
    this.#early = null;
    for (const kline of page) {
      const held = this.#klines.get(kline.start);
      if (held === undefined || kline.revision > held.revision) this.#klines.set(kline.start, kline);
    }
    this.#sort();
    this.#from = page[0]?.start ?? -Infinity;
    this.isWhole = page.length === 0;
    this.#capacity = Math.max(CAPACITY, this.size);
    const changes = early.map((kline) => this.put(kline));
    return page.length > 0 || changes.some((change) => change !== Change.none);
  }

  #sort() {
    this.#starts = [...this.#klines.keys()].sort((a, b) => a - b);
  }

  get(start) {
    return this.#klines.get(start);
  }

  get size() {
    return this.#starts.length;
  }

  get oldest() {
    return this.#klines.get(this.#starts[0]);
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
