/** What a request costs, before anything is downloaded: `xcor-daemon estimate`, in the page. */

import { problem } from "../csvtable.js";
import { roundEven, roundTenth } from "../numbers.js";
import { STATIONS, dayRanges } from "../stations.js";
import { nKept, nLags, nWindows, wantsEnds } from "./params.js";

/**
 * Price a correlation job (estimate.py has the meaning of every figure).
 *
 * @param {import("../stations.js").Channel[]} channels  in id order
 * @param {Object} params  as `checkParams` gives them
 * @param {Object} limits  limits.json
 * @returns {{price: Object|null, problems: import("../csvtable.js").Problem[]}}  the price under
 *     the names of `xcor-daemon estimate --json`; problems where no pair can be made or it is
 *     larger than allowed. Null where no pair can be made.
 */
export function estimate(channels, params, limits) {
  const rates = limits.price;
  const all = periods(channels);
  let [channelDays, pairDays, bytesIn, days] = [0, 0, 0, 0];
  const counted = new Map();
  for (const [first, last, members] of all) {
    if (members.length === 1 && !params.autocorrelations) continue;
    const nDays = last - first + 1;
    const pairs = countPairs(members, params);
    counted.set(members.map((c) => c.id).join(), pairs);
    days += nDays;
    pairDays += nDays * pairs;
    channelDays += nDays * members.length;
    const samples = members.reduce((sum, c) => sum + (c.sampleRate || rates.fs_unknown) * 86400, 0);
    bytesIn += nDays * samples * rates.bytes_per_sample;
  }
  if (!pairDays) return { price: null, problems: [noPair(channels)] };
  const windows = nWindows(params);
  const pairWindows = pairDays * windows;
  const price = {
    channels: channels.length,
    days,
    pairs: counted.size === 1 ? [...counted.values()][0] : countPairs(channels, params),
    pair_days: pairDays,
    windows_per_day: windows,
    pair_windows: pairWindows,
    bytes_in: roundEven(bytesIn),
    bytes_out: pairDays * nKept(params) * (2 * nLags(params) + 1) * 4,
    core_seconds: roundTenth(
      channelDays * (rates.per_channel_day + rates.per_channel_window * windows) +
        pairWindows * rates.per_pair_window,
    ),
  };
  return { price, problems: tooLarge(price, limits.job) };
}

/** First day, last day (since 1970) and channels of every run of days that ask for the same. */
export function periods(channels) {
  const ranges = channels.flatMap((c) =>
    dayRanges(c.spans).map(([first, last]) => [c, first, last]),
  );
  const starts = [...new Set(ranges.flatMap(([, first, last]) => [first, last + 1]))].sort(
    (a, b) => a - b,
  );
  const place = new Map(starts.map((day, k) => [day, k]));
  const members = starts.map(() => []);
  for (const [channel, first, last] of ranges) {
    for (let k = place.get(first); k < place.get(last + 1); k++) members[k].push(channel);
  }
  return starts
    .slice(0, -1)
    .map((start, k) => [start, starts[k + 1] - 1, members[k]])
    .filter(([, , inside]) => inside.length);
}

/**
 * Pairs that `params` wants of these channels, distance apart; counted without making them.
 *
 * @param {import("../stations.js").Channel[]} channels  in id order
 */
export function countPairs(channels, params) {
  let total = 0;
  const before = new Map(); // how often a last letter came
  const atStation = new Map(); // ... at a station
  for (const second of channels) {
    const end = second.channel.at(-1);
    const station = `${second.network}.${second.station}.`;
    total += params.autocorrelations && wantsEnds(params, end, end) ? 1 : 0;
    for (const [start, n] of before) {
      if (!wantsEnds(params, start, end)) continue;
      total += n - (params.same_station ? 0 : (atStation.get(station + start) ?? 0));
    }
    before.set(end, (before.get(end) ?? 0) + 1);
    atStation.set(station + end, (atStation.get(station + end) ?? 0) + 1);
  }
  return total;
}

function noPair(channels) {
  const ids = channels
    .slice(0, 3)
    .map((c) => c.id)
    .join(", ");
  const need =
    channels.length === 1
      ? `names one channel only (${ids}); a correlation needs two, or autocorrelations=true`
      : `makes no pair: no two of its ${channels.length} channels (${ids} ...) share a ` +
        "day and fit components, same_station and autocorrelations of params.csv";
  return problem(STATIONS, 0, "", "", need);
}

function tooLarge(price, limits) {
  const grouped = (n) => roundEven(n).toLocaleString("en-US");
  return [
    ["pair_days", "pair-days", limits.max_pair_days],
    ["bytes_out", "bytes of correlations", limits.max_bytes_out],
    ["core_seconds", "core-seconds of work", limits.max_core_seconds],
  ]
    .filter(([name, , most]) => price[name] > most)
    .map(([name, words, most]) =>
      problem(
        STATIONS,
        0,
        "",
        "",
        `with params.csv makes ${grouped(price[name])} ${words}; at most ${grouped(most)} are ` +
          "allowed in one job: take fewer channels or days, or a longer cc_step",
      ),
    );
}
