/** The channels that are saved for a job: how found ones are added, and what they come to. */

import { DAY, dayRanges, inOrder, merge } from "./stations.js";

const FIRST = Date.UTC(1970, 0, 1);

/**
 * Found channels -> channels of stations.csv: their epochs within a window, always with an end.
 *
 * @param {import("../tabs/map/channels.js").FoundChannel[]} found
 * @param {{start: number|null, end: number|null}} window  ms
 * @param {number} now  ms; where an open epoch in an open window ends
 * @param {string} dataCenter  where they were found
 * @returns {import("./stations.js").Channel[]}  in id order; those with nothing in the window are
 *     left out
 */
export function toChannels(found, window, now, dataCenter) {
  const [first, last] = [
    Math.max(window.start ?? FIRST, FIRST),
    window.end ?? Math.floor(now / 1000) * 1000,
  ];
  const channels = found.map((c) => ({
    id: c.id,
    network: c.network,
    station: c.station,
    location: c.location,
    channel: c.channel,
    spans: merge(
      c.epochs
        .map(({ start, end }) => [Math.max(start, first), Math.min(end ?? last, last)])
        .filter(([start, end]) => start < end),
    ),
    latitude: c.latitude,
    longitude: c.longitude,
    elevation: c.elevation,
    sampleRate: c.sampleRate,
    dataCenter,
  }));
  return inOrder(channels.filter((c) => c.spans.length));
}

/** Saved channels with others added; the spans of a channel in both are joined. */
export function appended(saved, fresh) {
  const all = new Map(saved.map((c) => [c.id, c]));
  for (const channel of fresh) {
    const known = all.get(channel.id);
    all.set(
      channel.id,
      known ? { ...known, ...channel, spans: merge([...known.spans, ...channel.spans]) } : channel,
    );
  }
  return inOrder([...all.values()]);
}

/**
 * What saved channels come to.
 *
 * @returns {{channels: number, stations: number, days: number, first: number|null, last: number|null,
 *     longest: number}}  `first`, `last`: ms; `longest`: days of the longest span
 */
export function summary(channels) {
  const spans = channels.flatMap((c) => c.spans);
  const ranges = dayRanges(merge(spans));
  return {
    channels: channels.length,
    stations: new Set(channels.map((c) => `${c.network}.${c.station}`)).size,
    days: ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0),
    first: spans.length ? spans.reduce((least, [start]) => Math.min(least, start), Infinity) : null,
    last: spans.length ? spans.reduce((most, [, end]) => Math.max(most, end), -Infinity) : null,
    longest: spans.reduce((most, [start, end]) => Math.max(most, (end - start) / DAY), 0),
  };
}
