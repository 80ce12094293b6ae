/** Warnings about valid but unusual parameters and channels, before a job is launched. */

import { general } from "../../lib/python_numbers.js";
import { DAY, dayRanges, formatTime } from "../../request/stations.js";
import { counted } from "../../lib/format.js";

/**
 * Advice at fields.
 *
 * @param {Object} p  parameters that are right
 * @param {import("../../request/stations.js").Channel[]} channels
 * @returns {Object<string, string>}  by column
 */
export function adviceOn(p, channels) {
  const advice = {};
  const rates = channels.map((c) => c.sampleRate).filter(Boolean);
  const slow = channels.filter((c) => c.sampleRate && c.sampleRate < p.fs);
  const tooSlow = channels.filter((c) => c.sampleRate && c.sampleRate / 2 < p.freqmax);
  if (slow.length)
    advice.fs = `exceeds the sampling rate of ${named(slow)} (at least ${general(Math.min(...rates))} Hz); upsampling adds no signal`;
  if (p.freqmax > 0.8 * (p.fs / 2))
    advice.freqmax = `is within 20 % of the Nyquist frequency (${general(p.fs / 2)} Hz), where amplitudes are reduced`;
  if (tooSlow.length)
    advice.freqmax = `exceeds the Nyquist frequency of ${named(tooSlow)} (at least ${general(Math.min(...tooSlow.map((c) => c.sampleRate)) / 2)} Hz), left out of the job`;
  if (p.cc_step > p.cc_len)
    advice.cc_step = `leaves ${general(p.cc_step - p.cc_len)} s between windows unused`;
  if (p.cc_len * p.freqmin < 10)
    advice.cc_len = `contains only ${general(p.cc_len * p.freqmin, 2)} periods of freqmin; ten or more are usual`;
  if (p.maxlag > p.cc_len / 4)
    advice.maxlag = `is more than a quarter of cc_len; long lags are based on little data`;
  return advice;
}

function named(channels) {
  const [first] = channels;
  return channels.length === 1
    ? first.id
    : `${first.id} and ${counted(channels.length - 1, "other channel")}`;
}

/** Sentences about the channels as a whole. */
export function adviceOnChannels(channels, p) {
  const sentences = [];
  const rates = [...new Set(channels.map((c) => c.sampleRate).filter(Boolean))].sort(
    (a, b) => a - b,
  );
  if (rates.length > 1)
    sentences.push(
      `Sampling rates differ: ${rates.map((rate) => general(rate)).join(", ")} Hz; all are resampled to fs.`,
    );
  const { days, first } = daysAlone(channels);
  if (days && !p?.autocorrelations) {
    sentences.push(
      `On ${counted(days, "day")} there is only one channel and therefore no pair; the first is ${formatTime(first * DAY).slice(0, 10)}.`,
    );
  }
  const stations = Map.groupBy(channels, (c) => `${c.network}.${c.station}.${c.channel}`);
  const twice = [...stations.values()].find((same) => same.length > 1);
  if (twice)
    sentences.push(
      `${twice[0].network}.${twice[0].station} has ${twice[0].channel} at more than one location (${twice.map((c) => c.location || "--").join(", ")}): use only one?`,
    );
  return sentences;
}

/** The number of days with only one channel, and the first of them (since 1970). */
function daysAlone(channels) {
  const events = channels
    .flatMap((c) =>
      dayRanges(c.spans).flatMap(([first, last]) => [
        [first, 1],
        [last + 1, -1],
      ]),
    )
    .sort((a, b) => a[0] - b[0]);
  let [days, first, inside, before] = [0, null, 0, 0];
  for (const [at, change] of events) {
    if (inside === 1 && at > before) {
      days += at - before;
      first ??= before;
    }
    [inside, before] = [inside + change, at];
  }
  return { days, first };
}
