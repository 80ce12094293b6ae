/** The cost of a request before any download: `xcor-daemon estimate`, in the page. */

import { formatValue, problem } from "./csv_table.js";
import { general, roundEven, roundTenth } from "../lib/python_numbers.js";
import { STATIONS } from "./stations.js";
import { WINDOW_VALUES, WindowGrid } from "./windows.js";
import { PARAMS, isWhole, nLags } from "./params.js";
import { PAIR_VALUES, Periods, sum } from "./periods.js";

/**
 * Check the two files together, and estimate the correlation job (request/cost.py has the meaning
 * of every figure). Each check needs only the values that it depends on; errors in other values do
 * not prevent it.
 *
 * @param {Object} stations  as `parseStations` gives them
 * @param {Object} values  those of params.csv that are right by themselves
 * @param {Object} limits  limits.json
 * @returns {{estimate: Object|null, problems: import("./csv_table.js").Problem[]}}  the estimate under
 *     the names of `xcor-daemon estimate --json`, null where it cannot be made; problems where no
 *     pair can be made or the job is larger than allowed
 */
export function estimateJob(stations, values, limits) {
  const { named, hasAllCodes, channels } = stations;
  if (hasAllCodes && named.length === 1 && values.autocorrelations === false)
    return { estimate: null, problems: [problem(STATIONS, 0, "", "", onlyOne(named[0]))] };
  const isThere = [...WINDOW_VALUES, ...PAIR_VALUES].every((name) => name in values);
  const isCut = isThere && ["cc_len", "cc_step"].every((name) => isWhole(values[name], values.fs));
  if (!channels.length || !isCut) return { estimate: null, problems: [] };
  const periods = periodsOf(channels, values);
  if (!periods.withPairs.length)
    return { estimate: null, problems: [problem(STATIONS, 0, "", "", noPair(periods))] };
  const problems = "freqmax" in values ? tooSlow(periods, values.freqmax) : [];
  if (!("maxlag" in values)) return { estimate: null, problems };
  const estimate = estimateOf(periods, nLags(values), limits.cost);
  return { estimate, problems: [...problems, ...tooLarge(estimate, limits.job)] };
}

const counted = new WeakMap(); // channels -> the last count, and the values it depends on

/** Counted again only where the values that they depend on have changed: a form asks at each key. */
function periodsOf(channels, values) {
  const key = JSON.stringify([...WINDOW_VALUES, ...PAIR_VALUES].map((name) => values[name]));
  if (counted.get(channels)?.key !== key)
    counted.set(channels, { key, periods: new Periods(channels, new WindowGrid(values), values) });
  return counted.get(channels).periods;
}

function estimateOf(periods, lags, rates) {
  const { withPairs, channels, windows } = periods;
  const overDays = (value) => sum(withPairs, (p) => (p.end - p.first) * value(p));
  const pairWindows = overDays((p) => p.pairWindows);
  const daysOf = periods.daysOf;
  // The pipeline always fetches complete days.
  const samples = channels.reduce(
    (total, c, k) => total + (c.sampleRate || rates.fs_unknown) * 86400 * daysOf[k],
    0,
  );
  return {
    channels: channels.length,
    days: overDays(() => 1),
    pairs: periods.nPairs,
    pair_days: overDays((p) => p.nPairs),
    windows_per_day: windows.nWindows,
    pair_windows: pairWindows,
    bytes_in: roundEven(samples * rates.bytes_per_sample),
    bytes_out: overDays((p) => p.nPairs * p.nRows) * (2 * lags + 1) * 4,
    core_seconds: roundTenth(
      overDays((p) => p.nChannels) * rates.per_channel_day +
        overDays((p) => p.channelWindows) * rates.per_channel_window +
        pairWindows * rates.per_pair_window,
    ),
  };
}

function onlyOne({ id }) {
  return `contains only one channel (${id}); a correlation requires two, or autocorrelations=true`;
}

/** Why no pair can be made. */
function noPair({ windows, channels, runs }) {
  if (!runs.some((some) => some.length)) {
    const longest = channels
      .flatMap((c) => c.spans)
      .reduce((most, [a, b]) => Math.max(most, b - a), 0);
    return (
      `contains no complete window of cc_len = ${general(windows.ccLen)} s: windows start at ` +
      `midnight and every cc_step = ${general(windows.ccStep)} s after it, and the longest span ` +
      `is ${general(longest / 1000)} s; request longer spans or shorten cc_len`
    );
  }
  const ids = channels.slice(0, 3).map((c) => c.id);
  if (ids.length === 1)
    return `yields no pair: components excludes its only channel (${ids[0]}) with itself`;
  return (
    `yields no pair: no two of its ${channels.length} channels (${ids.join(", ")} ...) share a ` +
    "window and match components, same_station and autocorrelations of params.csv"
  );
}

/** Where no pair is left without the channels whose SampleRate is too low for the band. */
function tooSlow({ channels, windows, choice }, freqmax) {
  const fast = channels.filter((c) => !c.sampleRate || freqmax <= c.sampleRate / 2);
  if (fast.length === channels.length || new Periods(fast, windows, choice).withPairs.length)
    return [];
  const highest = channels.reduce((most, c) => Math.max(most, c.sampleRate ?? 0), 0);
  const need =
    "Hz leaves no pair: it exceeds the highest Nyquist frequency of the channels " +
    `(${general(highest / 2)} Hz, by SampleRate of ${STATIONS}); lower freqmax or add faster channels`;
  return [problem(PARAMS, 0, "freqmax", formatValue(freqmax), need)];
}

function tooLarge(estimate, limits) {
  const grouped = (n) => roundEven(n).toLocaleString("en-US");
  return [
    ["pair_days", "pair-days", limits.max_pair_days],
    ["bytes_out", "bytes of correlations", limits.max_bytes_out],
    ["core_seconds", "core-seconds of work", limits.max_core_seconds],
  ]
    .filter(([name, , most]) => estimate[name] > most)
    .map(([name, unit, most]) =>
      problem(
        STATIONS,
        0,
        "",
        "",
        `with params.csv amounts to ${grouped(estimate[name])} ${unit}; at most ${grouped(most)} are ` +
          "allowed in one job: choose fewer channels or days, or a longer cc_step",
      ),
    );
}
