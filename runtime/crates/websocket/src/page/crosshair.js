// The horizontal line of the crosshair, on a price that the symbol can have: a multiple of its tick. The library's own
// line follows the pointer to prices between ticks.

/** Returns the multiple of `tick` that is nearest to `price`. */
export function toTick(price, tick) {
  return Math.round(price / tick) * tick;
}

/** A primitive of any series on the candles' price scale, which draws the line and its label. */
export class TickLine {
  #candles;
  #update = () => {};
  /** `{ y }` of the pointer, or `{ price }` of a kline; null hides the line. */
  #at = null;
  #tick = 1;
  #look = { line: "", label: "" };
  #views = [{ renderer: () => ({ draw: (target) => this.#draw(target) }), zOrder: () => "top" }];
  #labels = [
    {
      coordinate: () => this.#y() ?? 0,
      fixedCoordinate: () => this.#y() ?? 0,
      text: () => this.#candles.priceFormatter().format(this.#price() ?? 0),
      textColor: () => "#ffffff",
      backColor: () => this.#look.label,
      visible: () => this.#y() !== null,
      tickVisible: () => false,
    },
  ];

  constructor(candles) {
    this.#candles = candles;
  }

  attached({ requestUpdate }) {
    this.#update = requestUpdate;
  }

  /** Sets the colours of the line and of its label. */
  paint(line, label) {
    this.#look = { line, label };
    this.#update();
  }

  /** Sets the tick of the symbol. */
  setTick(tick) {
    this.#tick = tick;
    this.#update();
  }

  /** Moves the line to the multiple of the tick next to `{ y }`, or to exactly `{ price }`; null hides it. */
  move(at) {
    this.#at = at;
    this.#update();
  }

  /** Returns the price of the line, or null. It is not stored, because the scale may move under a resting pointer. */
  #price() {
    if (this.#at === null || this.#at.price !== undefined) return this.#at?.price ?? null;
    const price = this.#candles.coordinateToPrice(this.#at.y);
    return price === null ? null : toTick(price, this.#tick);
  }

  #y() {
    const price = this.#price();
    return price === null ? null : this.#candles.priceToCoordinate(price);
  }

  #draw(target) {
    const y = this.#y();
    if (y === null) return;
    target.useBitmapCoordinateSpace(({ context, bitmapSize, horizontalPixelRatio, verticalPixelRatio }) => {
      const width = Math.max(1, Math.floor(verticalPixelRatio));
      const row = Math.round(y * verticalPixelRatio) + (width % 2) / 2;
      context.strokeStyle = this.#look.line;
      context.lineWidth = width;
      context.setLineDash([6 * horizontalPixelRatio, 6 * horizontalPixelRatio]);
      context.beginPath();
      context.moveTo(0, row);
      context.lineTo(bitmapSize.width, row);
      context.stroke();
    });
  }

  paneViews() {
    return this.#views;
  }

  priceAxisViews() {
    return this.#labels;
  }
}
