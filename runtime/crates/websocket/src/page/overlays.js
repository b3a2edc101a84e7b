// Draws the series of consumers over the klines: numbers as lines, signals as marks. Untrusted texts are safe here: they
// are drawn on a canvas.

import { LineSeries, createSeriesMarkers } from "./lightweight-charts.js";

/** Colours of series, readable in both colour schemes; a topic keeps its colour while it is shown. */
export const COLORS = ["#c27803", "#7a6ad8", "#1f8fc4", "#c2571a", "#4c9a2a", "#b83280", "#0e8f8f", "#8a6d3b"];
/** A line within this factor of the price shares the klines' scale. */
const NEAR = 2;
const SEPARATE_PANE = 2;
const SHAPES = {
  up: { shape: "arrowUp", position: "belowBar" },
  down: { shape: "arrowDown", position: "aboveBar" },
  none: { shape: "circle", position: "aboveBar" },
};

const toTime = (start) => start / 1000;

export class Overlays {
  #chart;
  #candles;
  #marks;
  #lines = new Map();

  constructor(chart, candles) {
    this.#chart = chart;
    this.#candles = candles;
    this.#marks = createSeriesMarkers(candles, []);
  }

  /** Draws these topics, `{ topic, color, values }` each, and no others, over klines at about `price`. */
  draw(topics, price) {
    const wanted = new Set(topics.map(({ topic }) => topic));
    for (const topic of [...this.#lines.keys()].filter((topic) => !wanted.has(topic))) this.#remove(topic);
    const marks = [];
    for (const one of topics) {
      const all = one.values.all();
      const points = all.filter(({ number }) => number !== undefined);
      if (points.length > 0) this.#line(one, price, points);
      else this.#remove(one.topic);
      for (const { start, signal } of all.filter(({ signal }) => signal !== undefined)) {
        marks.push({ time: toTime(start), color: one.color, text: signal.text, ...SHAPES[signal.way] });
      }
    }
    this.#marks.setMarkers(marks.sort((a, b) => a.time - b.time));
  }

  /** Draws a line. A line near the klines' price shares their scale; another gets its own scale in a pane below. */
  #line({ topic, color }, price, points) {
    if (!this.#lines.has(topic)) {
      // Without klines there is no price to compare with.
      if (price <= 0) return;
      const last = points.at(-1).number;
      const isNear = last > price / NEAR && last < price * NEAR;
      const options = { color, lineWidth: 2, priceLineVisible: false, lastValueVisible: isNear, crosshairMarkerRadius: 3 };
      const line = isNear
        ? this.#chart.addSeries(LineSeries, { ...options, priceFormat: this.#candles.options().priceFormat })
        : this.#chart.addSeries(LineSeries, { ...options, priceScaleId: `value-${topic}` }, SEPARATE_PANE);
      this.#lines.set(topic, line);
    }
    this.#lines.get(topic).setData(points.map(({ start, number }) => ({ time: toTime(start), value: number })));
  }

  #remove(topic) {
    if (!this.#lines.has(topic)) return;
    this.#chart.removeSeries(this.#lines.get(topic));
    this.#lines.delete(topic);
  }
}
