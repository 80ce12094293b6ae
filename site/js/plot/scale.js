/** From values to pixels and back, and where an axis has its ticks. */

/**
 * A linear axis.
 *
 * @param {number} low   value at pixel `from`
 * @param {number} high  value at pixel `to`
 * @returns {{toPixel: (v: number) => number, toValue: (p: number) => number, low: number, high: number, from: number, to: number}}
 */
export function scaleOf(low, high, from, to) {
  const slope = (to - from) / (high - low || 1);
  return {
    low,
    high,
    from,
    to,
    toPixel: (value) => from + (value - low) * slope,
    toValue: (pixel) => low + (pixel - from) / slope,
  };
}

/** Round values between two others, about so many: 1, 2 or 5 times a power of ten apart. */
export function ticks(low, high, about) {
  const step = niceStep((high - low) / Math.max(1, about));
  const values = [];
  for (let k = Math.ceil(low / step - 1e-9) + 0; k * step <= high + step * 1e-9; k++)
    values.push(k * step);
  return { values, step, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  const part = rough / power;
  return power * (part <= 1.0000001 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
}

const STEPS = [
  1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600,
];

/**
 * Ticks of a time axis, UTC.
 *
 * @param {number} low   s since 1970
 * @param {number} high
 * @param {number} about  how many
 * @returns {{value: number, text: string}[]}  a day is named where it begins, and at the first tick
 */
export function timeTicks(low, high, about) {
  const rough = (high - low) / Math.max(1, about);
  const step = STEPS.find((s) => s >= rough);
  return step ? evenTicks(low, high, step) : monthTicks(low, high, rough / 2_629_800);
}

function evenTicks(low, high, step) {
  const found = [];
  let day = "";
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) {
    const text = new Date(value * 1000).toISOString();
    const [date, clock] = [text.slice(0, 10), text.slice(11, step < 60 ? 19 : 16)];
    found.push({ value, text: step >= 86400 ? date : date === day ? clock : `${date} ${clock}` });
    day = date;
  }
  return found;
}

function monthTicks(low, high, rough) {
  const months = [1, 2, 3, 6, 12, 24, 60, 120, 240].find((m) => m >= rough) ?? 480;
  const first = new Date(low * 1000);
  const found = [];
  for (
    let month = Math.ceil((first.getUTCFullYear() * 12 + first.getUTCMonth()) / months) * months;
    ;
    month += months
  ) {
    const value = Date.UTC(Math.floor(month / 12), month % 12) / 1000;
    if (value > high) return found;
    if (value >= low)
      found.push({
        value,
        text: new Date(value * 1000).toISOString().slice(0, months >= 12 ? 4 : 7),
      });
  }
}

/** A tick's value with as many digits as its step needs, and a real minus. */
export function tickText(value, digits) {
  return (Math.abs(value) < 1e-12 ? 0 : value).toFixed(digits).replace("-", "−");
}

/** A value with three significant digits, for a read-out; "no data" where there is none. */
export function valueText(value) {
  if (!Number.isFinite(value)) return "no data";
  const size = Math.abs(value);
  const text =
    size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(3) : value.toPrecision(4);
  return text.replaceAll("-", "−");
}
