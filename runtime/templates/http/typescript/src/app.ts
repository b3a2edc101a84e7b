// Posts an alert to a webhook when a closed kline has moved far.

import { HttpError, post } from "./http.js";
import { fatal, info, intervalText, number, retry, serve, text, type Batch, type Consumer, type Kline } from "./klines.js";

class Alerts implements Consumer {
  constructor(private readonly url: string, private readonly percent: number) {}

  /** klines calls it for every batch of closed klines. It sends one request for all alerts of the batch. */
  consume(batch: Batch): void {
    const alerts = batch.klines.map((kline) => this.alert(kline)).filter((alert) => alert !== undefined);
    if (alerts.length === 0) return;
    const status = this.send({ text: alerts.join("\n") });
    if (status >= 300) throw retry(`${this.url} answered ${status}`);
    info("alerts sent", { count: alerts.length });
  }

  private send(value: object): number {
    try {
      return post(this.url, value, { headers: { "user-agent": "{{name}}" } });
    } catch (error) {
      if (error instanceof HttpError) throw error.denied ? fatal(error.message) : retry(error.message);
      throw error;
    }
  }

  /** Returns the text for a kline that moved far enough. */
  private alert(kline: Kline): string | undefined {
    const move = (kline.close / kline.open - 1) * 100;
    // A correction of an earlier kline: an alert that was sent cannot be taken back.
    if (kline.revision > 0 || Math.abs(move) < this.percent) return undefined;
    return `${kline.symbol} ${intervalText(kline.interval)} ${move > 0 ? "rose" : "fell"} ${Math.abs(move).toFixed(2)} %`;
  }
}

// The keys of `[consumers.{{name}}.settings]`. The helper module reports unknown keys and wrong values to the operator.
// The operator also grants the host of `url`, and names the secret for it, in `allow`.
const settings = { url: text(), percent: number({ from: 0.001, otherwise: 1 }) };

/** klines looks for an export with this name. */
export const consumer = serve(settings, ({ url, percent }) => new Alerts(url, percent));
