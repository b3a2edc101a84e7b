// Draws klines: candlesticks, volume, marks of quality, gaps. This is the only place where decimals become floats.

import {
  CandlestickSeries,
  CrosshairMode,
  HistogramSeries,
  LineSeries,
  TickMarkType,
  createChartEx,
} from "./lightweight-charts.js";
import { TickLine } from "./crosshair.js";
import { clock, length, moment, zoneName } from "./format.js";
import { Gaps } from "./gaps.js";
import { QualityMarks } from "./marks.js";
import { Overlays } from "./overlays.js";
import { ZonedTime } from "./zone.js";

/** The maximum number of empty places for consecutive missing windows. */
const MAX_HOLE = 60;
/** The maximum number of klines that are updated one by one; for more, redrawing everything is cheaper. */
const MAX_UPDATES = 64;
const BAR_SPACING = 9;

// The library uses times in seconds. It compares them as numbers and converts them with Date, so that fractions of a
// second work; only its own formatters drop them.
const toTime = (start) => start / 1000;
const toStart = (time) => Math.round(time * 1000);

export class Chart {
  #box;
  #on;
  #chart;
  #candles;
  #volume;
  #marks;
  /** One for each pane. */
  #gaps = [new Gaps(true), new Gaps(false)];
  #overlays;
  #dirty = new Map();
  #drawn = new Set();
  #newest = null;
  /** The start of the oldest drawn kline, or null. */
  #oldest = null;
  #isLive = false;
  #held = null;
  #frame = 0;
  #all = () => [];
  #whole = false;
  #colors = {};
  #interval = "1m";
  #decimals = 0;
  #tick = null;
  #time = new ZonedTime();
  #line;
  /** An empty series, the last in the order of drawing, so that the crosshair's label covers all others. */
  #top;

  /**
   * `on.point(start)` is called with the kline under the pointer, or null. `on.reach(screens)` is called when something
   * else is seen, with the number of screens between it and the oldest kline: below 0 where that is seen.
   */
  constructor(box, on) {
    this.#box = box;
    this.#on = on;
    this.#chart = createChartEx(box, this.#time, {
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
        tickMarkFormatter: (time, type) => this.#label(toStart(time), type),
      },
      localization: { dateFormat: "yyyy-MM-dd", timeFormatter: (time) => this.#moment(toStart(time)) },
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
    this.#line = new TickLine(this.#candles);
    this.#top = this.#chart.addSeries(LineSeries, { priceLineVisible: false, lastValueVisible: false });
    this.#top.attachPrimitive(this.#line);
    this.#marks = new QualityMarks(this.#candles);
    this.#candles.attachPrimitive(this.#marks);
    [this.#candles, this.#volume].forEach((series, pane) => series.attachPrimitive(this.#gaps[pane]));
    this.#overlays = new Overlays(this.#chart, this.#candles);
    this.#chart.subscribeCrosshairMove(({ time, point, paneIndex, sourceEvent }) => {
      if (sourceEvent !== undefined) this.#held = null;
      if (this.#held !== null) return;
      this.#setLine(point !== undefined && paneIndex === 0 ? { y: point.y } : null);
      on.point(time === undefined ? null : toStart(time));
    });
    this.#chart.timeScale().subscribeVisibleLogicalRangeChange(() => {
      this.#hold();
      this.#reach();
    });
    // The library creates its link again when the colour scheme changes, at its next drawing.
    new MutationObserver(() => this.#cleanLink()).observe(box, { childList: true, subtree: true });
    this.#cleanLink();
    this.paint();
  }

  /** Applies the colours of the style sheet, which follow the user's colour scheme. */
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
    this.#line.paint(color("soft"), color("label"));
    this.#marks.paint(this.#colors);
    for (const gaps of this.#gaps) gaps.paint(color("soft"), color("ground"), style.fontFamily);
    this.#later(true);
  }

  /** Sets whether the feed is live; if not, the label of the newest price is grey. */
  setLive(isLive) {
    this.#isLive = isLive;
    this.#setNewest(this.#newest);
  }

  /** Draws another series; `all()` returns its klines, oldest first, and is called for each full redraw. */
  show(interval, all) {
    this.#interval = interval;
    this.#all = all;
    this.#tick = null;
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

  /** Sets the symbol's tick, `0.5`; without it, the last of the prices' decimals counts. */
  setTick(tick) {
    this.#tick = tick;
    this.#later(true);
  }

  /** Sets the time zone of the labels, `utc` or `local`. The series of consumers have to be drawn again. */
  setZone(zone) {
    if (zone === this.#time.zone) return;
    this.#time.zone = zone;
    const scale = this.#chart.timeScale();
    const seen = scale.getVisibleLogicalRange();
    // The library ranks only times that it does not have yet.
    this.#overlays.draw([], 0);
    for (const series of [this.#candles, this.#volume]) series.setData([]);
    this.#drawAll();
    if (seen !== null && this.#newest !== null) scale.setVisibleLogicalRange(seen);
  }

  /** Draws the series of consumers, `{ topic, color, values }` each, over klines at about this price (0 if none). */
  overlay(topics, price) {
    this.#overlays.draw(topics, price);
    this.#top.setSeriesOrder(this.#top.getPane().getSeries().length - 1);
  }

  /** Draws one new or changed kline with the next animation frame. */
  update(kline) {
    this.#dirty.set(kline.start, kline);
    this.#later(false);
  }

  /** Keeps the crosshair on a kline, and the kline visible, until the pointer moves; `null` releases it. */
  point(kline) {
    this.#held = kline;
    if (kline === null) {
      this.#setLine(null);
      return this.#chart.clearCrosshairPosition();
    }
    this.#hold();
    const scale = this.#chart.timeScale();
    const at = scale.timeToIndex(toTime(kline.start), true);
    const seen = scale.getVisibleLogicalRange();
    if (at === null || seen === null) return;
    const shift = Math.min(at - 1 - seen.from, 0) + Math.max(at + 1 - seen.to, 0);
    if (shift !== 0) scale.setVisibleLogicalRange({ from: seen.from + shift, to: seen.to + shift });
  }

  /** Sets the crosshair to the held kline again: the library keeps its position on the screen, not in time. */
  #hold() {
    if (this.#held === null || !this.#drawn.has(this.#held.start)) return;
    this.#chart.setCrosshairPosition(Number(this.#held.close), toTime(this.#held.start), this.#candles);
    this.#setLine({ price: Number(this.#held.close) });
  }

  /** Draws the crosshair's horizontal line over the klines; at null, the library draws its own in the other panes. */
  #setLine(at) {
    this.#line.move(at);
    const visible = at === null;
    if (this.#chart.options().crosshair.horzLine.visible === visible) return;
    this.#chart.applyOptions({ crosshair: { horzLine: { visible, labelVisible: visible } } });
  }

  /** Reports how far the oldest kline is from what is seen. Consumers' series may begin before it. */
  #reach() {
    const scale = this.#chart.timeScale();
    const [seen, first] = [scale.getVisibleLogicalRange(), this.#oldest === null ? null : scale.timeToIndex(toTime(this.#oldest))];
    this.#on.reach(seen === null || first === null ? 0 : (seen.from - first) / (seen.to - seen.from));
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
    if (this.#whole || changed.length > MAX_UPDATES || changed.some((kline) => !this.#fits(kline))) this.#drawAll();
    else changed.forEach((kline) => this.#drawOne(kline));
    this.#hold();
  }

  /** Removes this server's name from the address of the library's link. */
  #cleanLink() {
    const link = this.#box.querySelector("#tv-attr-logo");
    if (link === null) return;
    link.href = "https://www.tradingview.com/";
    link.rel = "noopener noreferrer";
  }

  /** Returns whether a kline can be drawn without moving others: it replaces one, or directly follows the newest. */
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
    this.#mark(kline);
  }

  #drawAll() {
    this.#whole = false;
    const klines = this.#all();
    const [candles, columns, gaps] = [[], [], []];
    this.#drawn.clear();
    this.#marks.clear();
    let before = null;
    let decimals = 0;
    for (const kline of klines) {
      decimals = Math.max(decimals, kline.price_decimals);
      if (before !== null) {
        const step = before.end + 1 - before.start;
        const places = this.#hole(before, kline);
        const place = (n) => toTime(before.end + 1 + n * step);
        for (let n = 0; n < places; n += 1) candles.push({ time: place(n) });
        if (places > 0) gaps.push({ from: place(0), to: place(places - 1) });
      }
      candles.push(this.#candle(kline));
      columns.push(this.#column(kline));
      this.#drawn.add(kline.start);
      this.#mark(kline);
      before = kline;
    }
    const wasNewest = this.#newest;
    this.#setNewest(before);
    this.#oldest = klines[0]?.start ?? null;
    this.#setDecimals(decimals);
    this.#keepView(wasNewest, () => {
      this.#candles.setData(candles);
      this.#volume.setData(columns);
    });
    for (const of of this.#gaps) of.set(gaps);
    this.#reach();
  }

  /**
   * Replaces the drawn klines without moving those that are seen, although others may come before them and after them.
   * Where the newest kline is seen, the library keeps it seen.
   */
  #keepView(newest, replace) {
    const scale = this.#chart.timeScale();
    const [seen, times] = [scale.getVisibleLogicalRange(), scale.getVisibleRange()];
    const isPast = newest !== null && times !== null && times.to < toTime(newest.start);
    const before = isPast ? scale.timeToIndex(times.from) : null;
    replace();
    const after = isPast ? scale.timeToIndex(times.from) : null;
    const now = scale.getVisibleLogicalRange();
    if (before === null || after === null || now === null) return;
    const shift = after - before;
    if (Math.abs(now.from - seen.from - shift) < 0.01) return;
    scale.setVisibleLogicalRange({ from: seen.from + shift, to: seen.to + shift });
  }

  /** Returns the number of empty places between two klines. Only windows of a second or more are always sent. */
  #hole(before, kline) {
    const step = before.end + 1 - before.start;
    if (step < 1000 || step > length("1W")) return 0;
    return Math.min(Math.round((kline.start - before.end - 1) / step), MAX_HOLE);
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

  #mark({ start, low, quality }) {
    this.#marks.set(toTime(start), Number(low), quality);
  }

  /** Stores the newest kline and colours its price label: that of a hollow open candle would be transparent. */
  #setNewest(kline) {
    this.#newest = kline;
    const name = kline === null || !this.#isLive ? "soft" : this.#side(kline);
    this.#candles.applyOptions({ priceLineColor: this.#colors[name] });
  }

  /** Sets the digits of prices: those received, or those of the tick if it has more. */
  #setDecimals(received) {
    const [, fraction = ""] = (this.#tick ?? "").split(".");
    this.#decimals = Math.max(received, fraction.length);
    const minMove = this.#tick === null ? 10 ** -this.#decimals : Number(this.#tick);
    if (this.#candles.options().priceFormat.minMove === minMove) return;
    this.#candles.applyOptions({ priceFormat: { minMove } });
    this.#line.setTick(minMove);
  }

  /** Returns the label of the crosshair on the time scale. */
  #moment(start) {
    return `${moment(start, length(this.#interval), this.#time.zone)} ${zoneName(start, this.#time.zone)}`;
  }

  /** Formats labels of seconds and milliseconds; the library formats minutes, hours, days, months and years. */
  #label(ms, type) {
    if (type !== TickMarkType.TimeWithSeconds) return null;
    return ms % 1000 === 0 ? clock(ms, 1000, this.#time.zone) : clock(ms, 1).slice(6);
  }
}
