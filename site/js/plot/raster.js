/** Correlations -> the pixels of an image. */

/**
 * RdBu of ColorBrewer 2 (C. Brewer, Apache licence), from its blue to its red end: the map of the
 * images that the pipeline draws. It is suitable for colour-blind readers.
 */
const ANCHORS = [
  0x053061, 0x2166ac, 0x4393c3, 0x92c5de, 0xd1e5f0, 0xf7f7f7, 0xfddbc7, 0xf4a582, 0xd6604d,
  0xb2182b, 0x67001f,
];
const MOST_SAMPLES = 40_000; // from which a quantile is estimated

/** 256 colours from the most negative to the most positive, as ImageData has them (little-endian ABGR). */
export const COLOURS = Uint32Array.from({ length: 256 }, (_, k) => {
  const at = (k / 255) * (ANCHORS.length - 1);
  const low = Math.min(Math.floor(at), ANCHORS.length - 2);
  const mix = (shift) => {
    const [a, b] = [ANCHORS[low], ANCHORS[low + 1]].map((colour) => (colour >> shift) & 255);
    return Math.round(a + (b - a) * (at - low));
  };
  return pixel(mix(16), mix(8), mix(0));
});

/** A pixel of ImageData as a 32-bit number. */
export function pixel(red, green, blue) {
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/**
 * The quantile of the absolute values; 1 where there are none.
 *
 * @param {Float32Array} values  NaN is left out
 * @param {number} share  0 to 1
 */
export function limitOf(values, share) {
  const every = Math.max(1, Math.ceil(values.length / MOST_SAMPLES));
  const found = new Float32Array(Math.ceil(values.length / every));
  let n = 0;
  for (let k = 0; k < values.length; k += every)
    if (Number.isFinite(values[k])) found[n++] = Math.abs(values[k]);
  const sorted = found.subarray(0, n).sort();
  return (n ? sorted[Math.min(n - 1, Math.floor(share * n))] : 0) || sorted[n - 1] || 1;
}

/**
 * Draw a matrix: every pixel is the mean of the cells in it; blank where there are none.
 *
 * @param {Float32Array} values  rows of `columns` values
 * @param {number} columns
 * @param {Int32Array} rows      from top to bottom, the row of `values` in each line; -1: none
 * @param {{from: number, to: number, width: number, height: number, limit: number, blank: number}} view
 *     `from`, `to`: columns, to exclusive; `limit`: the absolute value of the last colours
 * @returns {{pixels: Uint32Array, width: number, height: number}}  at most width x height: never
 *     more pixels than cells
 */
export function rasterise(values, columns, rows, { from, to, width, height, limit, blank }) {
  const wide = Math.max(1, Math.min(Math.round(width), to - from));
  const high = Math.max(1, Math.min(Math.round(height), rows.length));
  const pixels = new Uint32Array(wide * high).fill(blank);
  const edges = Int32Array.from(
    { length: wide + 1 },
    (_, x) => from + Math.round((x * (to - from)) / wide),
  );
  const sums = new Float64Array(wide);
  const scale = 127.5 / limit;
  for (let y = 0; y < high; y++) {
    const [top, bottom] = [
      Math.round((y * rows.length) / high),
      Math.round(((y + 1) * rows.length) / high),
    ];
    let used = 0;
    sums.fill(0);
    for (let line = top; line < bottom; line++) {
      const start = rows[line] * columns;
      // A window is complete or missing.
      if (start < 0 || Number.isNaN(values[start])) continue;
      used += 1;
      for (let x = 0; x < wide; x++) {
        let sum = 0;
        for (let c = edges[x]; c < edges[x + 1]; c++) sum += values[start + c];
        sums[x] += sum;
      }
    }
    if (!used) continue;
    for (let x = 0; x < wide; x++) {
      const mean = sums[x] / (used * (edges[x + 1] - edges[x]));
      if (Number.isNaN(mean)) continue;
      pixels[y * wide + x] = COLOURS[Math.max(0, Math.min(255, Math.round(127.5 + mean * scale)))];
    }
  }
  return { pixels, width: wide, height: high };
}

/**
 * Windows on an even grid of time.
 *
 * @param {number[]} times  starts (s since 1970), in any order
 * @returns {{rows: Int32Array, begin: number, step: number}}  `rows`: the window of each line of
 *     the grid, -1 where there is none
 */
export function timeGrid(times) {
  const order = times.map((_, k) => k).sort((a, b) => times[a] - times[b]);
  if (!order.length) return { rows: new Int32Array(0), begin: 0, step: 1 };
  const steps = [];
  for (let k = 1; k < order.length; k++) {
    const step = times[order[k]] - times[order[k - 1]];
    if (step > 0) steps.push(step);
  }
  const begin = times[order[0]];
  const step = steps.length ? steps.sort((a, b) => a - b)[steps.length >> 1] : 3600;
  const span = times[order.at(-1)] - begin;
  const rows = new Int32Array(Math.min(Math.round(span / step) + 1, 200_000)).fill(-1);
  for (const k of order) {
    const line = Math.min(Math.round((times[k] - begin) / step), rows.length - 1);
    rows[line] = k;
  }
  return { rows, begin, step };
}
