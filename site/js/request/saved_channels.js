/** The channels that are saved for a job: appending to them, and their summary. */

import { DAY, dayRanges, inOrder, merge } from "./stations.js";

/** Saved channels with others appended; the spans of a channel in both are joined. */
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
 * Summary of saved channels.
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
