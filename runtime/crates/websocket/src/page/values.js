// What consumers publish for the series that is shown: which topics there are, the values of each, and what can be
// drawn of one. All of it is strangers' words: text and numbers, never markup. Knows neither connection nor chart.

/** Values kept of one topic; the oldest go first. */
const CAPACITY = 2000;
const LONGEST_TEXT = 80;
const LONGEST_LINE = 240;
/** Which way a signal points; a Map, because strangers choose the words that are looked up. */
const WAYS = new Map([["buy", "up"], ["long", "up"], ["sell", "down"], ["short", "down"]]);

/** `ext.mine.rsi.1m.BTCUSDT` is `{ topic, label: "mine · rsi" }` where `1m` and `BTCUSDT` are shown; other topics are not. */
export function relevant(topics, interval, symbol) {
  const end = `.${interval}.${symbol}`;
  const fitting = topics.filter((topic) => topic.startsWith("ext.") && topic.endsWith(end));
  const parts = fitting.map((topic) => ({ topic, parts: topic.slice("ext.".length, -end.length).split(".") }));
  return parts.filter(({ parts }) => parts.length === 2).map(({ topic, parts }) => ({ topic, label: parts.join(" · ") }));
}

/** What a value is to the page: a number for a line, a signal for a mark, or a text for a line of words. */
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

  /** Takes a snapshot in place of everything held. */
  reset(values) {
    this.#values = new Map();
    for (const value of values) this.#values.set(value.start, value);
  }

  /** Takes one push; nothing provisional replaces what is confirmed. Returns whether anything changed. */
  put(value) {
    const held = this.#values.get(value.start);
    if (held?.confirm && !value.confirm) return false;
    this.#values.set(value.start, value);
    if (this.#values.size > CAPACITY) this.#values.delete(Math.min(...this.#values.keys()));
    return true;
  }

  /** All values, oldest first, each with what it is to the page. */
  all() {
    const sorted = [...this.#values.values()].sort((a, b) => a.start - b.start);
    return sorted.map(({ start, value }) => ({ start, ...read(value) }));
  }
}
