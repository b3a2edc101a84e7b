/**
 * Blocking HTTP requests: `post(url, value)`.
 *
 * This module belongs to your project: change it as you like. With `http = true` in `consumer.toml` the packages of
 * `wasi:http` are called `host:…` in TypeScript, and `wasi:…` in the component. `wasi-http.d.ts` has their types.
 *
 * @module
 */

import { subscribeDuration } from "host:clocks/monotonic-clock@{{http}}";
import { handle } from "host:http/outgoing-handler@{{http}}";
import { Fields, OutgoingBody, OutgoingRequest, RequestOptions } from "host:http/types@{{http}}";
import type { Disposable, ErrorCode } from "host:http/types@{{http}}";
import { poll } from "host:io/poll@{{http}}";

import { text as anyText, type Setting } from "./klines.js";

/** There is no response; the message is the reason. If `denied` is true, the operator has not granted the request. */
export class HttpError extends Error {
  constructor(message: string, readonly denied = false) {
    super(message);
  }
}

export interface Options {
  /** Do not put secrets here: the operator names them in `allow.secrets`, and klines adds them to the request. */
  headers?: Record<string, string>;
  /** In milliseconds, for the whole request: a call of a consumer may take 1 s in all. */
  timeout?: number;
}

/** Returns what is wrong with a URL, without the URL itself; `undefined` if `post` accepts it. */
export function checkUrl(url: string): string | undefined {
  const scheme = /^https?:\/\//.exec(url)?.[0];
  if (scheme === undefined) return "does not begin with https:// or http://";
  if (url.includes("#") || !/^[!-~]*$/.test(url)) return "has a #, a blank or a character that is not ASCII";
  const authority = url.slice(scheme.length).split(/[/?]/)[0];
  if (!authority || authority.startsWith(":")) return "has no host";
  if (authority.includes("@")) return "has a login: put the header `authorization` into `allow.secrets`";
  return undefined;
}

/** A setting that is a URL for `post`: `klines check` reports a wrong one. */
export const address = (): Setting<string> => ({
  ...anyText(),
  read(value, path, problems) {
    const url = anyText().read(value, path, problems);
    const wrong = typeof url === "string" ? checkUrl(url) : undefined;
    const expected = "an address such as https://hooks.example.com/alerts";
    if (wrong !== undefined) problems.push({ path, message: wrong, expected });
    return url;
  },
});

/**
 * Returns the scheme and the host of a URL, such as `https://hooks.example.com`; `an invalid URL` if it is wrong. Use it
 * in logs and errors: the path can be secret.
 */
export const origin = (url: string): string =>
  (checkUrl(url) === undefined && /^https?:\/\/[^/?]+/.exec(url)?.[0]) || "an invalid URL";

/** Posts a value as JSON, waits for the response, and returns its status. Throws an HttpError if there is no response. */
export function post(url: string, value: unknown, { headers = {}, timeout = 800 }: Options = {}): number {
  const wrong = checkUrl(url);
  if (wrong !== undefined) throw new HttpError(`the URL ${wrong}`);
  const body = bytes(JSON.stringify(value));
  const own = { "content-type": "application/json", "content-length": String(body.length), ...headers };
  try {
    return send(url, own, body, timeout);
  } catch (reason) {
    if (reason instanceof HttpError) throw reason;
    const tag = (reason as Partial<ErrorCode> | null)?.tag;
    const denied = tag === "HTTP-request-denied" || tag === "destination-IP-prohibited";
    const what = denied ? " is not granted: see the log of klines" : `: ${tag ?? reason}`;
    throw new HttpError(`POST ${origin(url)}${what}`, denied);
  }
}

function send(url: string, headers: Record<string, string>, body: Uint8Array, timeout: number): number {
  // The resources to dispose of at the end, the newest first; `give` removes one that another function takes.
  const owned: Disposable[] = [];
  const own = <T extends Disposable>(resource: T): T => (owned.push(resource), resource);
  const give = <T extends Disposable>(resource: T): T => (owned.splice(owned.indexOf(resource), 1), resource);
  try {
    const over = own(subscribeDuration(timeout * 1e6));
    const fields = own(Fields.fromList(Object.entries(headers).map(([name, text]) => [name, bytes(text)])));
    const request = own(new OutgoingRequest(give(fields)));
    const [, scheme, authority = "", path = ""] = /^(https?):\/\/([^/?]+)(.*)$/.exec(url) ?? [];
    request.setMethod({ tag: "post" });
    request.setScheme({ tag: scheme === "http" ? "HTTP" : "HTTPS" });
    request.setAuthority(authority);
    request.setPathWithQuery(path.startsWith("/") ? path : `/${path}`);
    const options = own(new RequestOptions());
    // Without it, the time for a connection could exceed the limit while the body is written.
    options.setConnectTimeout(timeout * 1e6);
    const outgoing = own(request.body());
    const pending = own(handle(give(request), give(options)));
    write(give(outgoing), body);
    const ready = own(pending.subscribe());
    if (!poll([ready, over]).includes(0)) throw new HttpError(`POST ${origin(url)}: no response in ${timeout} ms`);
    const answer = pending.get().val;
    if (answer.tag === "err") throw answer.val;
    return own(answer.val).status();
  } finally {
    for (const resource of owned.reverse()) resource[Symbol.dispose]();
  }
}

function write(outgoing: OutgoingBody, body: Uint8Array): void {
  const stream = outgoing.write();
  let whole = true;
  try {
    for (let at = 0; at < body.length; at += 4096) stream.blockingWriteAndFlush(body.slice(at, at + 4096));
  } catch {
    whole = false; // The request has failed; the response says why.
  }
  stream[Symbol.dispose]();
  if (whole) OutgoingBody.finish(outgoing, null);
  else outgoing[Symbol.dispose]();
}

/** Returns a text as UTF-8. */
const bytes = (text: string): Uint8Array =>
  Uint8Array.from(unescape(encodeURIComponent(text)), (character) => character.charCodeAt(0));
