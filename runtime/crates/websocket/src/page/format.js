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

/** Returns how far the time in `zone` (`utc` or `local`) is ahead of UTC at `ms`, in ms. */
export function offset(ms, zone) {
  return zone === "local" ? new Date(ms).getTimezoneOffset() * -60_000 : 0;
}

/** Returns the name of `zone` at `ms`: `UTC`, or with the offset from it, `UTC+05:30`. */
export function zoneName(ms, zone) {
  if (zone !== "local") return "UTC";
  const minutes = offset(ms, zone) / 60_000;
  const two = (n) => String(n).padStart(2, "0");
  return `UTC${minutes < 0 ? "-" : "+"}${two(Math.floor(Math.abs(minutes) / 60))}:${two(Math.abs(minutes) % 60)}`;
}

/** Returns the time of day in `zone`, to minutes, seconds or ms as the interval `finest` (ms) needs. */
export function clock(ms, finest = 1000, zone = "utc") {
  const text = new Date(ms + offset(ms, zone)).toISOString();
  return text.slice(11, finest < 1000 ? 23 : finest < 60_000 ? 19 : 16);
}

/** Returns the date in `zone`, and the time of day unless it is midnight in UTC, where days, weeks and months start. */
export function moment(ms, finest, zone = "utc") {
  const day = new Date(ms + offset(ms, zone)).toISOString().slice(0, 10);
  return finest >= UNITS.D && zone === "utc" ? day : `${day} ${clock(ms, finest, zone)}`;
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
