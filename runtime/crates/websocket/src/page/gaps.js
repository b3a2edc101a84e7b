// Hatches the windows between klines of which nothing is known, so that a gap is seen as a gap.

/** The distance of the hatch's lines, and the width from which a gap has a label, in CSS pixels. */
const SPACING = 7;
const LABELLED = 70;
const LABEL = "no klines";

/** A primitive of any series; it hatches the series' whole pane. */
export class Gaps {
  #chart = null;
  #update = () => {};
  /** The first and last empty place of each gap, `{ from, to }`, in the library's time. */
  #gaps = [];
  #look = { color: "", ground: "", font: "" };
  #hasLabels;
  #views = [{ renderer: () => ({ draw: (target) => this.#draw(target) }), zOrder: () => "bottom" }];

  constructor(hasLabels) {
    this.#hasLabels = hasLabels;
  }

  attached({ chart, requestUpdate }) {
    this.#chart = chart;
    this.#update = requestUpdate;
  }

  /** Sets the colour of the lines and labels, that of the ground below the labels, and the labels' font. */
  paint(color, ground, font) {
    this.#look = { color, ground, font };
    this.#update();
  }

  /** Replaces all gaps. */
  set(gaps) {
    this.#gaps = gaps;
    this.#update();
  }

  /** Returns the edges of a gap: half a place before its first and after its last one. */
  #edges({ from, to }) {
    const scale = this.#chart.timeScale();
    const first = scale.timeToIndex(from, false);
    if (first === null) return null;
    // The library knows the coordinates of whole places alone.
    const [left, next, right] = [scale.logicalToCoordinate(first), scale.logicalToCoordinate(first + 1), scale.timeToCoordinate(to)];
    return [left, next, right].includes(null) ? null : [left - (next - left) / 2, right + (next - left) / 2];
  }

  #draw(target) {
    for (const gap of this.#gaps) {
      const edges = this.#edges(gap);
      if (edges === null) continue;
      target.useBitmapCoordinateSpace((space) => this.#hatch(space, ...edges));
    }
  }

  #hatch({ context, bitmapSize: { width, height }, horizontalPixelRatio, verticalPixelRatio }, from, to) {
    const left = Math.max(0, Math.round(from * horizontalPixelRatio));
    const right = Math.min(width, Math.round(to * horizontalPixelRatio));
    if (right <= left) return;
    const step = Math.round(SPACING * horizontalPixelRatio);
    context.save();
    context.beginPath();
    context.rect(left, 0, right - left, height);
    context.clip();
    context.strokeStyle = this.#look.color;
    context.globalAlpha = 0.45;
    context.lineWidth = Math.max(1, Math.floor(verticalPixelRatio));
    context.beginPath();
    // The lines start at multiples of the step, so that they do not move when the gap grows.
    for (let x = left - height - ((left - height) % step) - step; x < right; x += step) {
      context.moveTo(x, height);
      context.lineTo(x + height, 0);
    }
    context.stroke();
    context.globalAlpha = 1;
    if (this.#hasLabels && to - from >= LABELLED) this.#label(context, (left + right) / 2, verticalPixelRatio);
    context.restore();
  }

  #label(context, x, ratio) {
    const [top, height, margin] = [8, 11, 4].map((size) => Math.round(size * ratio));
    context.font = `${height}px ${this.#look.font}`;
    context.textAlign = "center";
    context.textBaseline = "top";
    const width = context.measureText(LABEL).width + 2 * margin;
    context.fillStyle = this.#look.ground;
    context.fillRect(x - width / 2, top - margin, width, height + 2 * margin);
    context.fillStyle = this.#look.color;
    context.fillText(LABEL, x, top);
  }

  paneViews() {
    return this.#views;
  }
}
