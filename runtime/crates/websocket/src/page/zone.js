// The time scale in a time zone: where its days and hours begin, and what its labels say. The library knows UTC alone.

import { defaultHorzScaleBehavior } from "./lightweight-charts.js";
import { offset } from "./format.js";

export class ZonedTime extends defaultHorzScaleBehavior() {
  /** `utc` or `local`. */
  zone = "utc";

  /** Returns the library's time for `time` (seconds) as if the zone's clock were UTC. */
  #shifted(time) {
    return super.convertHorzItemToInternal(time + offset(time * 1000, this.zone) / 1000);
  }

  /** Ranks each time by the largest unit that begins with it. */
  fillWeightsForPoints(points, from) {
    if (this.zone === "utc") return super.fillWeightsForPoints(points, from);
    const shifted = points.map((point) => ({ time: this.#shifted(point.originalTime), timeWeight: point.timeWeight }));
    super.fillWeightsForPoints(shifted, from);
    for (let at = from; at < points.length; at += 1) points[at].timeWeight = shifted[at].timeWeight;
  }

  formatTickmark(mark, localization) {
    return super.formatTickmark({ ...mark, time: this.#shifted(mark.originalTime) }, localization);
  }
}
