/** The pairs of a stack file: its CSV as objects, filtered and sorted. */

import { parseCsv } from "../lib/csv.js";

const NUMBERS = ["distance", "azimuth", "back_azimuth", "n_windows", "snr", "lag", "speed"];

/**
 * A pair: a row of every array of the stack file.
 *
 * @typedef {Object} Pair
 * @property {number} row       place in the arrays
 * @property {string} name      FIRST|SECOND
 * @property {string} first     channel id
 * @property {string} second    channel id
 * @property {number} distance  km; NaN where unknown, as are the following
 * @property {number} azimuth   degrees, at first
 * @property {number} back_azimuth  degrees, at second
 * @property {number} n_windows
 * @property {number} snr
 * @property {number} lag       s, of the largest value
 * @property {number} speed     km/s
 */

/**
 * Read STACK/NAME.csv.
 *
 * @param {string} text
 * @returns {Pair[]}
 * @throws {Error} if it has no columns `first` and `second`, or a row too short
 */
export function readPairs(text) {
  const [head, ...rows] = parseCsv(text).map((row) => row.cells);
  const [first, second] = ["first", "second"].map((name) => head?.indexOf(name) ?? -1);
  if (first < 0 || second < 0)
    throw new Error("the table of pairs has no columns first and second");
  return rows.map((cells, row) => {
    if (cells.length < head.length)
      throw new Error(`the table of pairs is truncated in row ${row + 1}`);
    const numbers = NUMBERS.map((name) => [name, numberOf(cells[head.indexOf(name)])]);
    return {
      row,
      name: `${cells[first]}|${cells[second]}`,
      first: cells[first],
      second: cells[second],
      ...Object.fromEntries(numbers),
    };
  });
}

function numberOf(cell) {
  return cell === undefined || cell.trim() === "" ? NaN : Number(cell);
}

/**
 * Sort pairs; those without a value come last in either direction, equal ones are sorted by name.
 *
 * @param {Pair[]} pairs
 * @param {string} by       a column
 * @param {boolean} isDown  largest first
 */
export function sortPairs(pairs, by, isDown) {
  const sign = isDown ? -1 : 1;
  const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  return [...pairs].sort((a, b) => {
    const [one, other] = [a[by], b[by]];
    const [no, none] = [Number.isNaN(one), Number.isNaN(other)];
    if (no || none) return no - none || order(a.name, b.name);
    return sign * order(one, other) || order(a.name, b.name);
  });
}

/**
 * The pairs that pass a filter.
 *
 * @param {Pair[]} pairs
 * @param {{text?: string, minDistance?: number, maxDistance?: number, channel?: string}} wanted
 *     `text`: parts of the two ids, separated by blanks, in any order and case; a distance leaves
 *     out the pairs whose distance is unknown
 */
export function filterPairs(
  pairs,
  { text = "", minDistance = NaN, maxDistance = NaN, channel = "" } = {},
) {
  const words = text
    .toUpperCase()
    .split(/[\s|,;]+/)
    .filter(Boolean);
  return pairs.filter(
    (pair) =>
      words.every((word) => pair.name.toUpperCase().includes(word)) &&
      !(minDistance > pair.distance || (Number.isNaN(pair.distance) && minDistance > 0)) &&
      !(
        maxDistance < pair.distance ||
        (Number.isNaN(pair.distance) && Number.isFinite(maxDistance))
      ) &&
      (!channel || pair.first === channel || pair.second === channel),
  );
}

/** All channels of some pairs, each with how many pairs have it, in order. */
export function channelsOf(pairs) {
  const counts = new Map();
  for (const { first, second } of pairs) {
    for (const id of new Set([first, second])) counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  return [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([id, count]) => ({ id, count }));
}

/**
 * The parts that all channel ids of some pairs have in common, so that a list need not repeat them.
 *
 * @returns {{start: number, end: number, text: string}}  characters to leave out at both ends;
 *     `text`: the pattern of the ids, such as "NO.*..BHZ"; "" where nothing is common
 */
export function commonIds(pairs) {
  const ids = channelsOf(pairs).map(({ id }) => id.split("."));
  if (ids.length < 2 || ids.some((parts) => parts.length !== 4))
    return { start: 0, end: 0, text: "" };
  const [network, , location, channel] = ids[0];
  const isShared = (k) => ids.every((parts) => parts[k] === ids[0][k]);
  const start = isShared(0) ? network.length + 1 : 0;
  const end = isShared(2) && isShared(3) ? location.length + channel.length + 2 : 0;
  if (!start && !end) return { start, end, text: "" };
  return { start, end, text: `${start ? network : "*"}.*.${end ? `${location}.${channel}` : "*"}` };
}
