// Older klines of the shown series: loads them from the server's store and memory, page by page, as the user scrolls
// back, and says how far they reach. Draws nothing.

import { length, moment, zoneName } from "./format.js";
import { get } from "./rest.js";

/** The number of klines of one request: the server's maximum. */
const PAGE = 1000;
/**
 * No older klines are loaded from this number on: five weeks of minutes, and some 60 MB. All of them are drawn again
 * whenever older ones are added.
 */
export const MOST = 50_000;
/** The time after a failure in which scrolling sends no request, ms; doubles with each failure up to the maximum. */
const PAUSE = 2000;
const MAX_PAUSE = 300_000;

/** Why a page could not be loaded. */
class LoadError extends Error {
  /** `isFinal` says that the same request would be refused again. */
  constructor(reason, isFinal = false) {
    super(reason);
    this.isFinal = isFinal;
  }
}

/** Sends one request; returns `{ klines, hasStore }`. */
async function load(wanted, end, login, signal) {
  const query = { ...wanted, limit: PAGE, ...(end !== null && { end }) };
  const response = await get("/v1/klines", query, login, signal).catch(() => {
    throw new LoadError("the server does not answer");
  });
  if (!response.ok) {
    const { error } = await response.json().catch(() => ({}));
    throw new LoadError(error ?? `the server answers with status ${response.status}`, response.status < 500);
  }
  const history = response.headers.get("x-klines-history");
  // The klines in memory alone would look like a hole in the stored ones.
  if (history === "unavailable") throw new LoadError("the store cannot be read now");
  const { klines } = await response.json().catch(() => ({}));
  if (!Array.isArray(klines)) throw new LoadError("the answer has no klines");
  return { klines, hasStore: history !== "none" };
}

export class Past {
  #series;
  #login;
  #on;
  /** The parameters of the shown series, `{ category, symbol, interval }`; null until its snapshot has come. */
  #wanted = null;
  /** The request that is under way, or null. */
  #request = null;
  /** `ready`, `loading`, `done`, `failed` or `refused`; the last two have a `reason`. */
  #state = { name: "ready" };
  #hasStore = true;
  #pause = PAUSE;
  #pausedUntil = 0;

  /** Adds to `series`. Calls `login()` for each request, `on.loaded()` after klines were added, and `on.state()`. */
  constructor(series, login, on) {
    this.#series = series;
    this.#login = login;
    this.#on = on;
  }

  /** Starts with another series, or with the same one after its snapshot; null ends what is under way. */
  follow(wanted) {
    this.#request?.abort();
    this.#request = null;
    this.#wanted = wanted;
    this.#pause = PAUSE;
    this.#pausedUntil = 0;
    this.#set({ name: "ready" });
  }

  /** Loads the next older page, unless there is none, or a request is under way. */
  async more() {
    if (this.#wanted === null || this.#request !== null || this.#state.name === "refused") return;
    if (this.#series.isWhole || this.#series.size >= MOST || Date.now() < this.#pausedUntil) return;
    const request = new AbortController();
    this.#request = request;
    this.#set({ name: "loading" });
    const end = this.#series.expect();
    try {
      const { klines, hasStore } = await load(this.#wanted, end, this.#login(), request.signal);
      if (this.#request !== request) return;
      this.#took(klines, end, hasStore);
    } catch (error) {
      if (!(error instanceof LoadError)) throw error;
      if (this.#request !== request) return;
      this.#failed(error);
    }
  }

  #took(klines, end, hasStore) {
    this.#request = null;
    this.#pause = PAUSE;
    this.#hasStore = hasStore;
    const isAdded = this.#series.addOlder(klines, end);
    this.#set({ name: "done" });
    if (isAdded) this.#on.loaded();
  }

  #failed({ message, isFinal }) {
    this.#request = null;
    this.#pausedUntil = Date.now() + this.#pause;
    this.#pause = Math.min(this.#pause * 2, MAX_PAUSE);
    this.#set({ name: isFinal ? "refused" : "failed", reason: message });
  }

  #set(state) {
    this.#state = state;
    this.#on.state();
  }

  /** Returns what to say where the oldest kline is seen; empty if there is nothing to say. */
  text(zone) {
    const { name, reason } = this.#state;
    if (name === "loading") return "Loading older klines …";
    if (name === "failed") return `Older klines cannot be loaded: ${reason}. Scroll back to try again.`;
    if (name === "refused") return `Older klines cannot be loaded: ${reason}.`;
    const { oldest, isWhole, size } = this.#series;
    if (oldest === undefined) return "";
    const since = `${moment(oldest.start, length(oldest.interval), zone)} ${zoneName(oldest.start, zone)}`;
    if (isWhole && !this.#hasStore) return `Oldest kline in memory: ${since}. This server stores no klines.`;
    if (isWhole) return `Oldest stored kline: ${since}.`;
    return size < MOST ? "" : `The page keeps ${MOST.toLocaleString("en")} klines, since ${since}. Older ones: /v1/klines.`;
  }
}
