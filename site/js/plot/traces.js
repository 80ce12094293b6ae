/** Traces by distance: record section of all pairs, virtual source gather of one channel. */

export const MOST_WIGGLES = 60; // traces that can be distinguished; more become an image

/**
 * Virtual source gather: one channel with all others, as if it were a source.
 *
 * Where the channel is the second of a pair, the trace is reversed in lag, so that waves at positive
 * lags always travel away from the channel.
 *
 * @param {{first: string, second: string, name: string, distance: number}[]} pairs
 * @param {string} channel  "" takes all pairs as they are
 * @returns {{pair: Object, name: string, isReversed: boolean}[]}  by distance; those of unknown
 *     distance come last
 */
export function gatherOf(pairs, channel) {
  const chosen = channel
    ? pairs.filter(({ first, second }) => first === channel || second === channel)
    : pairs;
  const far = ({ pair }) => (Number.isFinite(pair.distance) ? pair.distance : Infinity);
  return chosen
    .map((pair) => {
      const isReversed = Boolean(channel) && pair.first !== channel;
      return {
        pair,
        isReversed,
        name: !channel ? pair.name : isReversed ? pair.first : pair.second,
      };
    })
    .sort((a, b) => far(a) - far(b) || (a.pair.name < b.pair.name ? -1 : 1));
}

/** At most `most` items at even steps, the first and the last included. */
export function thinned(things, most) {
  if (things.length <= most) return things;
  return Array.from(
    { length: most },
    (_, k) => things[Math.round((k * (things.length - 1)) / (most - 1))],
  );
}

/** The largest absolute value of a trace in some columns; 0 where it is dead or has a NaN. */
export function largest(trace, from = 0, to = trace.length) {
  let found = 0;
  for (let k = from; k < to; k++) {
    const size = Math.abs(trace[k]);
    if (!Number.isFinite(size)) return 0;
    if (size > found) found = size;
  }
  return found;
}

/**
 * Traces, each scaled to its largest value, averaged in steps of distance: the lines of an image.
 *
 * @param {{trace: Float32Array, distance: number}[]} traces
 * @param {number} lines  how many steps
 * @returns {{values: Float32Array, columns: number, rows: Int32Array, low: number, high: number, members: number[][]}}
 *     `rows` from the largest distance at the top; -1: no trace is there; `members`: which traces
 *     each line of `values` is the mean of
 */
export function distanceLines(traces, lines) {
  const columns = traces[0]?.trace.length ?? 0;
  const alive = traces
    .map((_, k) => k)
    .filter((k) => largest(traces[k].trace) > 0 && Number.isFinite(traces[k].distance));
  const distances = alive.map((k) => traces[k].distance);
  const [low, high] = [Math.min(...distances), Math.max(...distances)];
  const n = high > low ? lines : 1;
  const members = Array.from({ length: n }, () => []);
  for (const k of alive)
    members[Math.min(n - 1, Math.floor(((traces[k].distance - low) / (high - low || 1)) * n))].push(
      k,
    );
  const values = new Float32Array(n * columns);
  const rows = new Int32Array(n).fill(-1);
  members.forEach((some, line) => {
    if (!some.length) return;
    const mean = values.subarray(line * columns, (line + 1) * columns);
    for (const k of some) {
      const { trace } = traces[k];
      const size = largest(trace) * some.length;
      for (let c = 0; c < columns; c++) mean[c] += trace[c] / size;
    }
    const top = largest(mean) || 1;
    for (let c = 0; c < columns; c++) mean[c] /= top;
    rows[n - 1 - line] = line;
  });
  return { values, columns, rows, low, high, members };
}

/** The columns of lags within a limit: [from, to). */
export function lagColumns(columns, fs, maxlag) {
  const middle = (columns - 1) / 2;
  const n = Math.min(middle, Math.max(1, Math.round(maxlag * fs)));
  return [middle - n, middle + n + 1];
}

/** A trace as CSV: lag (s) and value, in full precision of a float32. */
export function traceCsv(trace, fs, column) {
  const middle = (trace.length - 1) / 2;
  const lines = [`lag,${column}`];
  for (let k = 0; k < trace.length; k++) {
    // Nine digits bring a float32 back exactly; a lag has no more digits than its clock.
    lines.push(
      `${Number(((k - middle) / fs).toPrecision(12))},${Number.isNaN(trace[k]) ? "" : Number(trace[k].toPrecision(9))}`,
    );
  }
  return lines.join("\n") + "\n";
}
