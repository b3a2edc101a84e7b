// The values that consumers publish for the selected series: their topics, the values of each, and how a value is drawn.
// All of it is untrusted: text and numbers, never markup. Does not know the connection or the chart.

/** The number of values that are kept of one topic; the oldest are dropped first. */
const CAPACITY = 2000;
const LONGEST_TEXT = 80;
const LONGEST_LINE = 240;
/** The direction of a signal by its side. A Map and not an object, because the keys that are looked up are untrusted. */
const WAYS = new Map([["buy", "up"], ["long", "up"], ["sell", "down"], ["short", "down"]]);

/** Returns the topics of this interval and symbol with labels: `ext.mine.rsi.1m.BTCUSDT` has the label `mine · rsi`. */
export function relevant(topics, interval, symbol) {
  const end = `.${interval}.${symbol}`;
  const fitting = topics.filter((topic) => topic.startsWith("ext.") && topic.endsWith(end));
  const parts = fitting.map((topic) => ({ topic, parts: topic.slice("ext.".length, -end.length).split(".") }));
  return parts.filter(({ parts }) => parts.length === 2).map(({ topic, parts }) => ({ topic, label: parts.join(" · ") }));
}

/** Converts a value to what is drawn: a number for a line, a signal for a mark, or a text for the list. */
export function read(value) {
  if (typeof value === "number") return Number.isFinite(value) ? { number: value } : { line: String(value) };
  if (value !== null && typeof value === "object" && !Array.isArray(value)) {
    const { side, text } = value;
    const words = [text, side].find((one) => typeof one === "string");
    if (words !== undefined) {
      const way = (typeof side === "string" && WAYS.get(side.toLowerCase())) || "none";
      return { signal: { way, text: cut(words, LONGEST_TEXT) } };
    }
  }
  return { line: cut(JSON.stringify(value), LONGEST_LINE) };
}

function cut(text, longest) {
  const letters = [...text];
  return letters.length > longest ? `${letters.slice(0, longest).join("")}…` : text;
}

/** The values of one topic, by start. */
export class Values {
  #values = new Map();

  /** Replaces all values with a snapshot. */
  reset(values) {
    this.#values = new Map();
    for (const value of values) this.#values.set(value.start, value);
  }

  /** Stores one push; an update does not replace a confirmed value. Returns whether anything changed. */
  put(value) {
    const held = this.#values.get(value.start);
    if (held?.confirm && !value.confirm) return false;
    this.#values.set(value.start, value);
    if (this.#values.size > CAPACITY) this.#values.delete(Math.min(...this.#values.keys()));
    return true;
  }

  /** Returns all values, oldest first, each converted to what is drawn. */
  all() {
    const sorted = [...this.#values.values()].sort((a, b) => a.start - b.start);
    return sorted.map(({ start, value }) => ({ start, ...read(value) }));
  }
}
