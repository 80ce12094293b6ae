/** What is allowed and still worth a second look before a job is launched. */

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
  const deaf = channels.filter((c) => c.sampleRate && c.sampleRate / 2 < p.freqmax);
  if (slow.length)
    advice.fs = `${named(slow)} recorded at less, from ${general(Math.min(...rates))} Hz on; resampling up adds no signal`;
  if (p.freqmax > 0.8 * (p.fs / 2))
    advice.freqmax = `is within a fifth of ${general(p.fs / 2)} Hz, the Nyquist frequency; the band's edge is soft there`;
  if (deaf.length)
    advice.freqmax = `${named(deaf)} cannot hold it: at most half the sampling rate, ${general(Math.min(...deaf.map((c) => c.sampleRate)) / 2)} Hz; such channels are left out`;
  if (p.cc_step > p.cc_len)
    advice.cc_step = `leaves ${general(p.cc_step - p.cc_len)} s between windows unused`;
  if (p.cc_len * p.freqmin < 10)
    advice.cc_len = `holds only ${general(p.cc_len * p.freqmin, 2)} periods of freqmin; ten or more are usual`;
  if (p.maxlag > p.cc_len / 4)
    advice.maxlag = `is more than a quarter of cc_len; long lags rest on little data`;
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
      `Their sampling rates differ: ${rates.map((rate) => general(rate)).join(", ")} Hz; all are resampled to fs.`,
    );
  const { days, first } = daysAlone(channels);
  if (days && !p?.autocorrelations) {
    sentences.push(
      `On ${counted(days, "day")} there is only one channel, so nothing to correlate; the first is ${formatTime(first * DAY).slice(0, 10)}.`,
    );
  }
  const stations = Map.groupBy(channels, (c) => `${c.network}.${c.station}.${c.channel}`);
  const twice = [...stations.values()].find((same) => same.length > 1);
  if (twice)
    sentences.push(
      `${twice[0].network}.${twice[0].station} has ${twice[0].channel} at more than one location (${twice.map((c) => c.location || "--").join(", ")}): take one?`,
    );
  return sentences;
}

/** How many days only one channel is asked for, and the first of them (since 1970). */
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
