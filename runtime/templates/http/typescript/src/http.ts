/**
 * Blocking HTTP requests: `post(url, value)`.
 *
 * This module belongs to your project: change it as you like. With `http = true` in `consumer.toml` the packages of
 * `wasi:http` are called `host:…` in TypeScript, and `wasi:…` in the component. `wasi-http.d.ts` has their types.
 *
 * @module
 */

import { handle } from "host:http/outgoing-handler@{{http}}";
import { Fields, OutgoingBody, OutgoingRequest, RequestOptions, type ErrorCode } from "host:http/types@{{http}}";

/** There is no response; the message is the reason. If `denied` is true, the operator has not granted the request. */
export class HttpError extends Error {
  constructor(message: string, readonly denied = false) {
    super(message);
  }
}

export interface Options {
  /** Do not put secrets here: the operator names them in `allow.secrets`, and klines adds them to the request. */
  headers?: Record<string, string>;
  /** In milliseconds, for the connection and again for the response: a call of a consumer may take 1 s in all. */
  timeout?: number;
}

/** Posts a value as JSON, waits for the response, and returns its status. Throws an HttpError if there is no response. */
export function post(url: string, value: unknown, { headers = {}, timeout = 400 }: Options = {}): number {
  const [, scheme, authority, path = ""] = /^(https?):\/\/([^/?#]+)([^#]*)/.exec(url) ?? [];
  if (!authority) throw new HttpError(`${url} is not a URL of http or https`);
  const body = bytes(JSON.stringify(value));
  const own = { "content-type": "application/json", "content-length": String(body.length), ...headers };
  try {
    const request = new OutgoingRequest(Fields.fromList(Object.entries(own).map(([name, text]) => [name, bytes(text)])));
    request.setMethod({ tag: "post" });
    request.setScheme({ tag: scheme === "http" ? "HTTP" : "HTTPS" });
    request.setAuthority(authority);
    request.setPathWithQuery(path.startsWith("/") ? path : `/${path}`);
    const options = new RequestOptions();
    options.setConnectTimeout(timeout * 1e6);
    options.setFirstByteTimeout(timeout * 1e6);
    const outgoing = request.body();
    const pending = handle(request, options);
    write(outgoing, body);
    const ready = pending.subscribe();
    ready.block();
    ready[Symbol.dispose]();
    const answer = pending.get().val;
    pending[Symbol.dispose]();
    if (answer.tag === "err") throw answer.val;
    const status = answer.val.status();
    answer.val[Symbol.dispose]();
    return status;
  } catch (reason) {
    const tag = (reason as Partial<ErrorCode> | null)?.tag;
    const denied = tag === "HTTP-request-denied" || tag === "destination-IP-prohibited";
    throw new HttpError(`POST ${url}${denied ? " is not granted: see the log of klines" : `: ${tag ?? reason}`}`, denied);
  }
}

function write(outgoing: OutgoingBody, body: Uint8Array): void {
  const stream = outgoing.write();
  try {
    for (let at = 0; at < body.length; at += 4096) stream.blockingWriteAndFlush(body.slice(at, at + 4096));
  } catch {
    return; // The request has failed; the response says why.
  } finally {
    stream[Symbol.dispose]();
  }
  OutgoingBody.finish(outgoing, null);
}

/** Returns a text as UTF-8. */
const bytes = (text: string): Uint8Array =>
  Uint8Array.from(unescape(encodeURIComponent(text)), (character) => character.charCodeAt(0));
