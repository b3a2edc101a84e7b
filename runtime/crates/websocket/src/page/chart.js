// Draws klines: candlesticks, volume, marks of quality. Decimals become floats here and nowhere else.

import {
  CandlestickSeries,
  CrosshairMode,
  HistogramSeries,
  TickMarkType,
  createChart,
  createSeriesMarkers,
} from "./lightweight-charts.js";
import { clock, length, moment } from "./format.js";
import { Overlays } from "./overlays.js";

/** Empty places drawn at most for one run of windows that are not known. */
const LONGEST_HOLE = 60;
/** Revisions drawn one by one before drawing everything is cheaper. */
const MANY = 64;
const SHAPES = { partial: "circle", gapped: "square", repaired: "arrowUp" };
const BAR_SPACING = 9;

// The library counts in seconds. It compares times as numbers and splits them into days by Date, so that thousandths
// are as good as whole seconds; only its own formatters leave them out.
const toTime = (start) => start / 1000;
const toStart = (time) => Math.round(time * 1000);

export class Chart {
  #box;
  #chart;
  #candles;
  #volume;
  #marks;
  #overlays;
  #marked = new Map();
  #dirty = new Map();
  #drawn = new Set();
  #newest = null;
  #heard = false;
  #held = null;
  #frame = 0;
  #all = () => [];
  #whole = false;
  #colors = {};
  #interval = "1m";
  #decimals = 0;

  /** `onPoint(start)` is called with the kline under the pointer, or null. */
  constructor(box, onPoint) {
    this.#box = box;
    this.#chart = createChart(box, {
      autoSize: true,
      layout: { attributionLogo: true, fontSize: 12, panes: { enableResize: false } },
      crosshair: { mode: CrosshairMode.Normal },
      rightPriceScale: { minimumWidth: 72 },
      timeScale: {
        rightOffset: 5,
        barSpacing: BAR_SPACING,
        minBarSpacing: 1,
        timeVisible: true,
        tickMarkMaxCharacterLength: 8,
        tickMarkFormatter: (time, type) => this.#tick(toStart(time), type),
      },
      localization: { timeFormatter: (time) => moment(toStart(time), length(this.#interval)) },
    });
    this.#candles = this.#chart.addSeries(CandlestickSeries, {
      borderVisible: true,
      priceFormat: { type: "custom", minMove: 1, formatter: (price) => price.toFixed(this.#decimals) },
    });
    this.#volume = this.#chart.addSeries(
      HistogramSeries,
      { priceFormat: { type: "volume" }, priceLineVisible: false, lastValueVisible: false },
      1,
    );
    const [prices, volumes] = this.#chart.panes();
    prices.setStretchFactor(4);
    volumes.setStretchFactor(1);
    this.#marks = createSeriesMarkers(this.#candles, []);
    this.#overlays = new Overlays(this.#chart, this.#candles);
    this.#chart.subscribeCrosshairMove(({ time, sourceEvent }) => {
      if (sourceEvent !== undefined) this.#held = null;
      if (this.#held === null) onPoint(time === undefined ? null : toStart(time));
    });
    this.#chart.timeScale().subscribeVisibleLogicalRangeChange(() => this.#hold());
    // The library makes its link anew with every scheme, whenever it comes to draw.
    new MutationObserver(() => this.#unmark()).observe(box, { childList: true, subtree: true });
    this.#unmark();
    this.paint();
  }

  /** Takes the colours of the style sheet, which follow the reader's scheme. */
  paint() {
    const style = getComputedStyle(this.#box);
    const color = (name) => style.getPropertyValue(`--${name}`).trim();
    this.#colors = Object.fromEntries(
      ["up", "down", "up-soft", "down-soft", "partial", "gapped", "repaired", "soft"].map((name) => [name, color(name)]),
    );
    const line = color("line");
    this.#chart.applyOptions({
      layout: {
        background: { color: color("ground") },
        textColor: color("soft"),
        fontFamily: style.fontFamily,
        panes: { separatorColor: line, separatorHoverColor: line },
      },
      grid: { vertLines: { color: color("grid") }, horzLines: { color: color("grid") } },
      rightPriceScale: { borderColor: line },
      timeScale: { borderColor: line },
      crosshair: {
        vertLine: { color: color("soft"), labelBackgroundColor: color("label") },
        horzLine: { color: color("soft"), labelBackgroundColor: color("label") },
      },
    });
    this.#later(true);
  }

  /** Says whether the exchange is heard; if not, the newest price is an old one, and its label grey. */
  hear(heard) {
    this.#heard = heard;
    this.#setNewest(this.#newest);
  }

  /** Draws another series; `all()` gives its klines, oldest first, whenever they are to be drawn anew. */
  show(interval, all) {
    this.#interval = interval;
    this.#all = all;
    this.point(null);
    const ms = length(interval);
    this.#chart.applyOptions({
      timeScale: { timeVisible: ms < length("1D"), secondsVisible: ms < length("1m"), barSpacing: BAR_SPACING },
    });
    this.#candles.priceScale().applyOptions({ autoScale: true });
    this.#chart.timeScale().resetTimeScale();
    this.redraw();
  }

  redraw() {
    this.#later(true);
  }

  /** Draws what consumers publish, `{ topic, color, values }` each, over klines at about this price (0 without any). */
  overlay(topics, price) {
    this.#overlays.draw(topics, price);
  }

  /** Draws one kline, new or changed, with the next frame. */
  update(kline) {
    this.#dirty.set(kline.start, kline);
    this.#later(false);
  }

  /** Holds the crosshair on a kline and the kline in sight, until the pointer moves; `null` lets go. */
  point(kline) {
    this.#held = kline;
    if (kline === null) return this.#chart.clearCrosshairPosition();
    this.#hold();
    const scale = this.#chart.timeScale();
    const at = scale.timeToIndex(toTime(kline.start), true);
    const seen = scale.getVisibleLogicalRange();
    if (at === null || seen === null) return;
    const shift = Math.min(at - 1 - seen.from, 0) + Math.max(at + 1 - seen.to, 0);
    if (shift !== 0) scale.setVisibleLogicalRange({ from: seen.from + shift, to: seen.to + shift });
  }

  /** The library keeps the crosshair's place on the screen, not in time. */
  #hold() {
    if (this.#held === null || !this.#drawn.has(this.#held.start)) return;
    this.#chart.setCrosshairPosition(Number(this.#held.close), toTime(this.#held.start), this.#candles);
  }

  zoom(factor) {
    const scale = this.#chart.timeScale();
    scale.applyOptions({ barSpacing: Math.min(Math.max(scale.options().barSpacing * factor, 1), 60) });
  }

  #later(whole) {
    this.#whole ||= whole;
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#frame = 0;
    const changed = [...this.#dirty.values()].sort((a, b) => a.start - b.start);
    this.#dirty.clear();
    if (this.#whole || changed.length > MANY || changed.some((kline) => !this.#fits(kline))) this.#drawAll();
    else changed.forEach((kline) => this.#drawOne(kline));
    this.#hold();
  }

  /** The library's link tells its makers this server's name. */
  #unmark() {
    const link = this.#box.querySelector("#tv-attr-logo");
    if (link === null) return;
    link.href = "https://www.tradingview.com/";
    link.rel = "noopener noreferrer";
  }

  /** Whether a kline can be drawn without moving others: it replaces one, or follows the newest at once. */
  #fits(kline) {
    if (this.#newest === null) return false;
    return this.#drawn.has(kline.start) || (kline.start > this.#newest.start && this.#hole(this.#newest, kline) === 0);
  }

  #drawOne(kline) {
    const older = kline.start < this.#newest.start;
    this.#setDecimals(kline.price_decimals);
    this.#candles.update(this.#candle(kline), older);
    this.#volume.update(this.#column(kline), older);
    this.#drawn.add(kline.start);
    if (!older) this.#setNewest(kline);
    if (this.#marked.get(kline.start)?.quality !== (kline.quality === "complete" ? undefined : kline.quality)) {
      this.#mark(kline);
      this.#setMarks();
    }
  }

  #drawAll() {
    this.#whole = false;
    const klines = this.#all();
    const [candles, columns] = [[], []];
    this.#drawn.clear();
    this.#marked.clear();
    let before = null;
    for (const kline of klines) {
      if (before !== null) {
        const step = before.end + 1 - before.start;
        const places = this.#hole(before, kline);
        for (let n = 0; n < places; n += 1) candles.push({ time: toTime(before.end + 1 + n * step) });
      }
      candles.push(this.#candle(kline));
      columns.push(this.#column(kline));
      this.#drawn.add(kline.start);
      this.#mark(kline);
      before = kline;
    }
    this.#setNewest(before);
    this.#setDecimals(Math.max(0, ...klines.map((kline) => kline.price_decimals)));
    this.#candles.setData(candles);
    this.#volume.setData(columns);
    this.#setMarks();
  }

  /** Empty places between two klines: windows of a second or more are always sent while the feed is alive. */
  #hole(before, kline) {
    const step = before.end + 1 - before.start;
    if (step < 1000 || step > length("1W")) return 0;
    return Math.min(Math.round((kline.start - before.end - 1) / step), LONGEST_HOLE);
  }

  #candle(kline) {
    const color = this.#colors[this.#side(kline)];
    return {
      time: toTime(kline.start),
      open: Number(kline.open),
      high: Number(kline.high),
      low: Number(kline.low),
      close: Number(kline.close),
      color: kline.confirm ? color : "transparent",
      borderColor: color,
      wickColor: color,
    };
  }

  #column(kline) {
    const side = this.#side(kline);
    return {
      time: toTime(kline.start),
      value: Number(kline.volume),
      color: this.#colors[`${side}-soft`],
    };
  }

  #side(kline) {
    return Number(kline.close) >= Number(kline.open) ? "up" : "down";
  }

  #mark(kline) {
    const { start, quality } = kline;
    if (quality === "complete") return this.#marked.delete(start);
    const look = { shape: SHAPES[quality], color: this.#colors[quality], position: "belowBar", size: 0.7 };
    return this.#marked.set(start, { time: toTime(start), quality, ...look });
  }

  #setMarks() {
    this.#marks.setMarkers([...this.#marked.values()].sort((a, b) => a.time - b.time));
  }

  /** An open candle is hollow, and its label would be too. */
  #setNewest(kline) {
    this.#newest = kline;
    const name = kline === null || !this.#heard ? "soft" : this.#side(kline);
    this.#candles.applyOptions({ priceLineColor: this.#colors[name] });
  }

  #setDecimals(decimals) {
    if (decimals === this.#decimals) return;
    this.#decimals = decimals;
    this.#candles.applyOptions({ priceFormat: { minMove: 10 ** -decimals } });
  }

  /** Seconds and less are printed here; the library prints minutes, hours, days, months and years. */
  #tick(ms, type) {
    if (type !== TickMarkType.TimeWithSeconds) return null;
    return ms % 1000 === 0 ? clock(ms, 1000) : clock(ms, 1).slice(6);
  }
}
