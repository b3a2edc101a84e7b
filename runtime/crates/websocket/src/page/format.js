// Text of numbers and times. Decimal strings stay strings: padded, never parsed.

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, D: 86_400_000, W: 604_800_000, M: 2_592_000_000 };

/** Length of an interval such as `15m` in ms; that of a month is nominal (30 days). */
export function length(interval) {
  const [, count, unit] = /^(\d+)(ms|[smhDWM])$/.exec(interval) ?? [];
  return Number(count) * UNITS[unit];
}

/** `42010` with one decimal is `42010.0`; digits are never cut. */
export function padded(decimal, decimals) {
  const [whole, fraction = ""] = decimal.split(".");
  return decimals === 0 && fraction === "" ? whole : `${whole}.${fraction.padEnd(decimals, "0")}`;
}

/** Time of day, UTC, down to what an interval needs: minutes, seconds or ms. */
export function clock(ms, finest = 1000) {
  const text = new Date(ms).toISOString();
  return text.slice(11, finest < 1000 ? 23 : finest < 60_000 ? 19 : 16);
}

/** Date and, for intervals shorter than a day, time of day, UTC. */
export function moment(ms, finest) {
  const day = new Date(ms).toISOString().slice(0, 10);
  return finest >= UNITS.D ? day : `${day} ${clock(ms, finest)}`;
}

/** A rest of time for people: `8 s`, `4:05`, `3:20:00`, `2 d`. */
export function rest(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const two = (n) => String(n).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  if (hours >= 48) return `${Math.floor(hours / 24)} d`;
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}
