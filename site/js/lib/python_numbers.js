/** Numbers as Python rounds and writes them, so that page and worker agree. */

/**
 * Round to a whole number, halves to the even one (Python's `round`).
 *
 * @param {number} x
 */
export function roundEven(x) {
  const below = Math.floor(x);
  const part = x - below;
  if (part !== 0.5) return part < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

/** Round to one decimal as Python's `round(x, 1)`. */
export function roundTenth(x) {
  // Of binary fractions only .25 and .75 lie half-way between two tenths.
  const isTie = Math.abs(x * 4) % 2 === 1;
  return isTie ? roundEven(x * 10) / 10 : Number(x.toFixed(1));
}

/**
 * Write a number in as few characters as its digits need (Python's `format(x, "g")`).
 *
 * @param {number} x  finite
 * @param {number} digits  significant ones
 */
export function general(x, digits = 6) {
  if (x === 0) return "0";
  const [mantissa, power] = x.toExponential(digits - 1).split("e");
  const exponent = Number(power);
  const bare = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  if (exponent < -4 || exponent >= digits) {
    const size = String(Math.abs(exponent)).padStart(2, "0");
    return `${bare(mantissa)}e${exponent < 0 ? "-" : "+"}${size}`;
  }
  return bare(x.toFixed(digits - 1 - exponent));
}

/** Write a number so that reading it gives the same one, in ten digits where these suffice. */
export function shortest(x) {
  const short = general(x, 10);
  return Number(short) === x ? short : String(x);
}

/** 12345 -> "12,345". */
export function grouped(n) {
  return Math.round(n)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ",");
}
