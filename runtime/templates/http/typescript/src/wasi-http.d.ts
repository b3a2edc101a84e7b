// The part of WASI {{http}} that `http.ts` uses, in the form that componentize-qjs gives it.

declare module "host:io/poll@{{http}}" {
  import type { Disposable } from "host:http/types@{{http}}";
  export type Pollable = Disposable;
  /** Waits until at least one is ready, and returns the positions of those that are. */
  export function poll(pollables: Pollable[]): number[];
}

declare module "host:clocks/monotonic-clock@{{http}}" {
  import type { Pollable } from "host:io/poll@{{http}}";
  /** Returns what is ready after a time in nanoseconds. */
  export function subscribeDuration(duration: number): Pollable;
}

declare module "host:http/types@{{http}}" {
  import type { Pollable } from "host:io/poll@{{http}}";

  export class Fields implements Disposable {
    static fromList(entries: [string, Uint8Array][]): Fields;
    [Symbol.dispose](): void;
  }

  export class OutgoingRequest implements Disposable {
    constructor(headers: Fields);
    setMethod(method: { tag: "get" | "head" | "post" | "put" | "delete" | "options" | "patch" }): void;
    setScheme(scheme: { tag: "HTTP" | "HTTPS" }): void;
    setAuthority(authority: string): void;
    setPathWithQuery(path: string): void;
    body(): OutgoingBody;
    [Symbol.dispose](): void;
  }

  /** Times are in nanoseconds. */
  export class RequestOptions implements Disposable {
    setConnectTimeout(duration: number): void;
    [Symbol.dispose](): void;
  }

  export class OutgoingBody implements Disposable {
    static finish(body: OutgoingBody, trailers: Fields | null): void;
    write(): OutputStream;
    [Symbol.dispose](): void;
  }

  export interface OutputStream extends Disposable {
    /** Writes at most 4096 bytes. */
    blockingWriteAndFlush(contents: Uint8Array): void;
  }

  export interface FutureIncomingResponse extends Disposable {
    subscribe(): Pollable;
    get(): { tag: "ok"; val: { tag: "ok"; val: IncomingResponse } | { tag: "err"; val: ErrorCode } };
  }

  export interface IncomingResponse extends Disposable {
    status(): number;
  }

  export interface ErrorCode {
    tag: string;
  }

  /** A resource of the host, which keeps it until it is disposed of. */
  export interface Disposable {
    [Symbol.dispose](): void;
  }
}

declare module "host:http/outgoing-handler@{{http}}" {
  import type { FutureIncomingResponse, OutgoingRequest, RequestOptions } from "host:http/types@{{http}}";
  export function handle(request: OutgoingRequest, options: RequestOptions | null): FutureIncomingResponse;
}

// QuickJS has both. The library of TypeScript's target lacks the first and calls the second deprecated.
interface SymbolConstructor {
  readonly dispose: unique symbol;
}
declare function unescape(text: string): string;
