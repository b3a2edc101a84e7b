// Marks klines that are not complete, each quality by a shape of its own, so that no colour is needed to tell them
// apart and none looks like a signal of a consumer. A complete kline has no mark.

/** Half the size of a mark, its minimum where klines are close together, and its distance from the kline's low, in CSS pixels. */
const RADIUS = 4;
const MIN_RADIUS = 1.5;
const DISTANCE = 4;

/** Draw one mark around (x, y); `unit` is half its size. */
const SHAPES = {
  /** A disc whose left half is empty: what came before is missing. */
  partial(context, x, y, unit) {
    context.lineWidth = Math.max(1, unit / 4);
    context.beginPath();
    context.arc(x, y, unit - context.lineWidth / 2, 0, 2 * Math.PI);
    context.stroke();
    context.beginPath();
    context.arc(x, y, unit, -Math.PI / 2, Math.PI / 2);
    context.fill();
  },
  /** A block with a gap. */
  gapped(context, x, y, unit) {
    const width = Math.max(1, Math.round(unit * 0.7));
    context.fillRect(x - unit, y - unit, width, 2 * unit);
    context.fillRect(x + unit - width, y - unit, width, 2 * unit);
  },
  /** A diamond. */
  repaired(context, x, y, unit) {
    context.beginPath();
    context.moveTo(x, y - unit);
    context.lineTo(x + unit, y);
    context.lineTo(x, y + unit);
    context.lineTo(x - unit, y);
    context.fill();
  },
};

/** A primitive of the candles, which draws the marks below them. */
export class QualityMarks {
  #candles;
  #chart = null;
  #update = () => {};
  /** The marked klines, `{ low, quality }` each, by time. */
  #marked = new Map();
  #colors = {};
  #views = [{ renderer: () => ({ draw: (target) => this.#draw(target) }), zOrder: () => "top" }];

  constructor(candles) {
    this.#candles = candles;
  }

  attached({ chart, requestUpdate }) {
    this.#chart = chart;
    this.#update = requestUpdate;
  }

  /** Sets the colours, by quality. */
  paint(colors) {
    this.#colors = colors;
    this.#update();
  }

  /** Removes all marks. */
  clear() {
    this.#marked.clear();
    this.#update();
  }

  /** Marks the kline at `time`, or removes its mark if it is complete. */
  set(time, low, quality) {
    if (quality in SHAPES) this.#marked.set(time, { low, quality });
    else if (!this.#marked.delete(time)) return;
    this.#update();
  }

  #draw(target) {
    const scale = this.#chart.timeScale();
    const seen = scale.getVisibleLogicalRange();
    if (seen === null || this.#marked.size === 0) return;
    target.useBitmapCoordinateSpace(({ context, bitmapSize, horizontalPixelRatio, verticalPixelRatio }) => {
      const fitting = Math.max(MIN_RADIUS, scale.options().barSpacing / 2);
      const unit = Math.round(Math.min(RADIUS, fitting) * verticalPixelRatio);
      // There may be tens of thousands of marks, of which few are seen.
      for (let at = Math.floor(seen.from) - 1; at <= seen.to + 1; at += 1) {
        const mark = this.#marked.get(this.#candles.dataByIndex(at)?.time);
        if (mark === undefined) continue;
        const { low, quality } = mark;
        const x = scale.logicalToCoordinate(at);
        const y = this.#candles.priceToCoordinate(low);
        if (x === null || y === null) continue;
        const column = Math.round(x * horizontalPixelRatio);
        if (column < -unit || column > bitmapSize.width + unit) continue;
        const below = Math.round((y + DISTANCE) * verticalPixelRatio) + unit;
        // A mark below the pane stays at its edge.
        const row = Math.min(below, bitmapSize.height - unit - 1);
        context.fillStyle = context.strokeStyle = this.#colors[quality];
        SHAPES[quality](context, column, row, unit);
      }
    });
  }

  paneViews() {
    return this.#views;
  }
}
