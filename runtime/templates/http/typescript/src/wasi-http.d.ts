// The part of `wasi:http@{{http}}` that `http.ts` uses, in the form that componentize-qjs gives it.

declare module "host:http/types@{{http}}" {
  export class Fields {
    static fromList(entries: [string, Uint8Array][]): Fields;
  }

  export class OutgoingRequest {
    constructor(headers: Fields);
    setMethod(method: { tag: "get" | "head" | "post" | "put" | "delete" | "options" | "patch" }): void;
    setScheme(scheme: { tag: "HTTP" | "HTTPS" }): void;
    setAuthority(authority: string): void;
    setPathWithQuery(path: string): void;
    body(): OutgoingBody;
  }

  /** Times are in nanoseconds. */
  export class RequestOptions {
    setConnectTimeout(duration: number): void;
    setFirstByteTimeout(duration: number): void;
  }

  export class OutgoingBody {
    static finish(body: OutgoingBody, trailers: Fields | null): void;
    write(): OutputStream;
  }

  export interface OutputStream extends Disposable {
    /** Writes at most 4096 bytes. */
    blockingWriteAndFlush(contents: Uint8Array): void;
  }

  export interface FutureIncomingResponse extends Disposable {
    subscribe(): Pollable;
    get(): { tag: "ok"; val: { tag: "ok"; val: IncomingResponse } | { tag: "err"; val: ErrorCode } };
  }

  export interface Pollable extends Disposable {
    block(): void;
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
