/** Numbers, sizes and times for people. */

/** Seconds in their largest unit: 95 -> "2 min". */
export function duration(seconds) {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 2 * 86400) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

/** Bytes in powers of 1000: 1536 -> "1.54 kB". */
export function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), units.length - 1);
  const value = bytes / 1000 ** power;
  return `${power ? value.toPrecision(3) : value} ${units[power]}`;
}

/** A count with its noun: (1, "pair") -> "1 pair", (1200, "pair") -> "1,200 pairs". */
export function counted(n, noun) {
  return `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
}

/** A number with so many digits, and a real minus; "–" where there is none. */
export function number(value, digits = 2) {
  return value === null || value === undefined || !Number.isFinite(value)
    ? "–"
    : value.toFixed(digits).replace("-", "−");
}

/** A time (ms since 1970) to the second, as the files write it, without the letters. */
export function utc(ms) {
  return new Date(ms).toISOString().slice(0, 19).replace("T", " ");
}

/** The text of an error as a sentence: a capital, and one full stop. */
export function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.$/, "")}.`;
}
