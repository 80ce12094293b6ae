/** Filtering and sorting of channels: facets, order, and the best channels of every station. */

import { isOpen } from "./channels.js";
import { patternOf } from "./query.js";

/** Facets of channels: a name and a function that returns the value of a channel. */
export const FACETS = {
  network: (c) => c.network,
  band: (c) => c.channel.slice(0, 2),
  component: (c) => c.channel.at(-1),
  location: (c) => c.location || "--",
  rate: (c) => (c.sampleRate === null ? "unknown" : `${c.sampleRate} Hz`),
  state: (c, now) => (isOpen(c, now) ? "recording" : "closed"),
};

/**
 * The values of every facet, with how many channels each would leave.
 *
 * @param {Object[]} channels
 * @param {Object<string, string>} chosen  by facet; "" or missing means all
 * @param {number} now  ms
 * @returns {Object<string, [string, number][]>}
 */
export function facetsOf(channels, chosen, now) {
  const counts = {};
  for (const [name, valueOf] of Object.entries(FACETS)) {
    const others = { ...chosen, [name]: "" };
    const found = new Map();
    for (const channel of narrow(channels, others, now)) {
      const value = valueOf(channel, now);
      found.set(value, (found.get(value) ?? 0) + 1);
    }
    counts[name] = [...found].sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }));
  }
  return counts;
}

/** The channels that have every chosen value. */
export function narrow(channels, chosen, now) {
  const asked = Object.entries(chosen).filter(([, value]) => value);
  return asked.length
    ? channels.filter((c) => asked.every(([name, value]) => FACETS[name](c, now) === value))
    : channels;
}

/** Columns of the table, and functions that return the sort key of a channel. */
export const COLUMNS = {
  network: (c) => c.network,
  station: (c) => c.station,
  location: (c) => c.location,
  channel: (c) => c.channel,
  latitude: (c) => c.latitude,
  longitude: (c) => c.longitude,
  elevation: (c) => c.elevation,
  rate: (c) => c.sampleRate,
  start: (c) => c.epochs[0].start,
  end: (c) => c.epochs.at(-1).end ?? Infinity,
};

/** Channels in the order of a column; those without a value come last, equal ones by id. */
export function sorted(channels, column, isDescending) {
  const valueOf = COLUMNS[column];
  const sign = isDescending ? -1 : 1;
  return [...channels].sort((a, b) => {
    const [x, y] = [valueOf(a), valueOf(b)];
    if (x === y) return a.id < b.id ? -1 : 1;
    if (x === null) return 1;
    if (y === null) return -1;
    return x < y ? -sign : sign;
  });
}

/**
 * Of every station the channels that come first in an order of preference.
 *
 * A station gives the channels of the first pattern that it has any of, each code once: from the
 * location that stands first in `locations`, or, of those not named, first in the alphabet.
 *
 * @param {Object[]} channels
 * @param {string} codes      such as "HH?,BH?,EHZ"
 * @param {string} locations  such as "00,--,10"
 */
export function bestOfStations(channels, codes, locations) {
  const patterns = codes
    .split(",")
    .filter(Boolean)
    .map((code) => patternOf(code.trim().toUpperCase()));
  const order = locations
    .split(",")
    .map((code) => code.trim().toUpperCase())
    .filter(Boolean);
  const rank = (c) =>
    order.includes(c.location || "--") ? order.indexOf(c.location || "--") : order.length;
  const byStation = Map.groupBy(channels, (c) => `${c.network}.${c.station}`);
  const best = [];
  for (const members of byStation.values()) {
    const pattern = patterns.find((one) => members.some((c) => one.test(c.channel)));
    if (!pattern) continue;
    const fitting = members.filter((c) => pattern.test(c.channel));
    for (const same of Map.groupBy(fitting, (c) => c.channel).values()) {
      best.push(
        same.reduce((a, b) =>
          rank(b) < rank(a) || (rank(b) === rank(a) && b.location < a.location) ? b : a,
        ),
      );
    }
  }
  return best;
}
