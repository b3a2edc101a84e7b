// Formats numbers and times. Decimal strings stay strings: they are padded and never parsed.

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, D: 86_400_000, W: 604_800_000, M: 2_592_000_000 };

/** Returns the length of an interval such as `15m` in ms; a month counts as 30 days. */
export function length(interval) {
  const [, count, unit] = /^(\d+)(ms|[smhDWM])$/.exec(interval) ?? [];
  return Number(count) * UNITS[unit];
}

/** Pads a decimal with zeros: `42010` with one decimal is `42010.0`. Never cuts digits. */
export function padded(decimal, decimals) {
  const [whole, fraction = ""] = decimal.split(".");
  return decimals === 0 && fraction === "" ? whole : `${whole}.${fraction.padEnd(decimals, "0")}`;
}

/** Returns the time of day in UTC, to minutes, seconds or ms as the interval `finest` (ms) needs. */
export function clock(ms, finest = 1000) {
  const text = new Date(ms).toISOString();
  return text.slice(11, finest < 1000 ? 23 : finest < 60_000 ? 19 : 16);
}

/** Returns the date and, for intervals shorter than a day, the time of day in UTC. */
export function moment(ms, finest) {
  const day = new Date(ms).toISOString().slice(0, 10);
  return finest >= UNITS.D ? day : `${day} ${clock(ms, finest)}`;
}

/** Formats a remaining duration: `8 s`, `4:05`, `3:20:00`, `2 d`. */
export function rest(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const two = (n) => String(n).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  if (hours >= 48) return `${Math.floor(hours / 24)} d`;
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}
