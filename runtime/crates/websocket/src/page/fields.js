// The fields of one kline as texts, in the digits that were received.

import { length, moment, padded, zoneName } from "./format.js";

const FIELDS = [
  ["time", "Start"],
  ["open", "Open"],
  ["high", "High"],
  ["low", "Low"],
  ["close", "Close"],
  ["volume", "Volume"],
  ["turnover", "Turnover"],
  ["buy_volume", "Buy volume"],
  ["trades", "Trades"],
  ["quality", "Quality"],
  ["revision", "Revision"],
];

function texts(kline, zone) {
  const price = (field) => padded(kline[field], kline.price_decimals);
  // The exchange's candles have neither of them.
  const atLeast = kline.quality === "repaired" ? "≥ " : "";
  return {
    time: moment(kline.start, length(kline.interval), zone),
    open: price("open"),
    high: price("high"),
    low: price("low"),
    close: price("close"),
    volume: kline.volume,
    turnover: kline.turnover,
    buy_volume: `${atLeast}${kline.buy_volume}`,
    trades: `${atLeast}${kline.trades}`,
    quality: kline.quality,
    revision: String(kline.revision),
  };
}

export class Fields {
  #list;
  #cells;

  /** Creates the fields in `list`, a `dl`. */
  constructor(list) {
    this.#list = list;
    this.#cells = Object.fromEntries(FIELDS.map(([field, title]) => [field, this.#cell(field, title)]));
  }

  #cell(field, title) {
    const [pair, name, value] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
    name.textContent = title;
    value.dataset.field = field;
    pair.append(name, value);
    this.#list.append(pair);
    return value;
  }

  /** Shows a kline; without one, the window that has none, `{ start, interval }`, or nothing if that is null. */
  show(kline, missing, zone) {
    const { time, quality } = this.#cells;
    const gap = missing && { time: moment(missing.start, length(missing.interval), zone), quality: "no kline" };
    const shown = kline === undefined ? gap : texts(kline, zone);
    for (const [field, cell] of Object.entries(this.#cells)) cell.textContent = shown?.[field] ?? "–";
    time.previousSibling.textContent = `Start (${zoneName(kline?.start ?? Date.now(), zone)})`;
    quality.dataset.quality = kline?.quality ?? "";
    quality.title = document.getElementById(`mark-${missing ? "missing" : kline?.quality}`)?.title ?? "";
  }

  /** Returns all fields in one line, to be spoken. */
  spoken() {
    return [...this.#list.children].map((pair) => [...pair.children].map((part) => part.textContent).join(" ")).join(", ");
  }
}
