// Posts an alert to a webhook when a closed kline has moved far.

import { HttpError, address, origin, post } from "./http.js";
import { error, fatal, info, intervalText, number, retry, serve, type Batch, type Consumer, type Kline } from "./klines.js";

class Alerts implements Consumer {
  constructor(private readonly url: string, private readonly percent: number) {}

  /** klines calls it for every batch of closed klines. It sends one request for all alerts of the batch. */
  consume(batch: Batch): void {
    const texts = batch.klines.map((kline) => ({ kline, text: this.alert(kline) }));
    const alerts = texts.filter(({ text }) => text !== undefined);
    const [first] = alerts;
    if (first === undefined) return;
    const text = alerts.map((alert) => alert.text).join("\n");
    const status = this.send({ text }, idempotencyKey(first.kline, batch.klines.length));
    const count = alerts.length;
    const answered = `${origin(this.url)} answered ${status}`;
    if (status >= 200 && status < 300) info("alerts sent", { count });
    // The server rejects the text itself, and would reject it again.
    else if ([400, 413, 422].includes(status)) error("alerts dropped, the server rejects them", { count, status });
    else if (status >= 300 && status < 400) throw retry(`${answered}, and redirects are not followed`);
    else throw retry(answered);
  }

  private send(value: object, key: string): number {
    try {
      return post(this.url, value, { headers: { "user-agent": "{{name}}", "idempotency-key": key } });
    } catch (failed) {
      if (failed instanceof HttpError) throw failed.denied ? fatal(failed.message) : retry(failed.message);
      throw failed;
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

/**
 * Returns a key that is the same when the same batch is delivered again, after a failure or a restart: with it, the
 * server can ignore alerts that it already has. `first` is the first kline with an alert, `size` the number of klines in
 * the batch.
 */
const idempotencyKey = (first: Kline, size: number): string =>
  `${first.category}-${first.symbol}-${intervalText(first.interval)}-${first.start}-${size}`;

// The keys of `[consumers.{{name}}.settings]`. The helper module reports unknown keys and wrong values to the operator.
// The operator also grants the host of `url`, and names the secret for it, in `allow`.
const settings = { url: address(), percent: number({ from: 0.001, otherwise: 1 }) };

/** klines looks for an export with this name. */
export const consumer = serve(settings, ({ url, percent }) => new Alerts(url, percent));
