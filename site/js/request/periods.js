/** The days of a request in runs that are alike: windows and pairs, counted (periods.py). */

import { merged } from "./windows.js";
import { wantsEnds } from "./params.js";

/** The values of params.csv that select pairs. */
export const PAIR_VALUES = ["autocorrelations", "same_station", "components"];

/** How many pairs are wanted of a set of channels to which one is added, or taken, at a time. */
export class PairCounter {
  #ends;
  #stations;
  #fits = new Map(); // for an end: [other, whether it is wanted before, ... behind]
  #own = new Map();
  #all = new Map(); // last letter -> places, in order
  #at = new Map(); // station -> the same of its channels; only where those of a station are apart
  #isApart;

  /**
   * @param {import("./stations.js").Channel[]} channels  in id order
   * @param {{autocorrelations: boolean, same_station: boolean, components: string[]}} choice
   */
  constructor(channels, choice) {
    this.total = 0;
    this.#ends = channels.map((c) => c.channel.at(-1));
    this.#stations = channels.map((c) => `${c.network}.${c.station}`);
    this.#isApart = !choice.same_station;
    const letters = [...new Set(this.#ends)];
    for (const end of letters) {
      this.#fits.set(
        end,
        letters.map((other) => [
          other,
          wantsEnds(choice, other, end),
          wantsEnds(choice, end, other),
        ]),
      );
      this.#own.set(end, choice.autocorrelations && wantsEnds(choice, end, end) ? 1 : 0);
    }
  }

  /** Add a channel to the set; returns the number of pairs that it adds. */
  add(place) {
    const made = this.#pairsOf(place);
    this.total += made;
    for (const places of this.#placesOf(place)) {
      const end = this.#ends[place];
      if (!places.has(end)) places.set(end, []);
      const same = places.get(end);
      same.splice(firstFrom(same, place), 0, place);
    }
    return made;
  }

  /** Remove a channel from the set. */
  remove(place) {
    for (const places of this.#placesOf(place)) {
      const same = places.get(this.#ends[place]);
      same.splice(firstFrom(same, place), 1);
    }
    this.total -= this.#pairsOf(place);
  }

  #placesOf(place) {
    if (!this.#isApart) return [this.#all];
    const station = this.#stations[place];
    if (!this.#at.has(station)) this.#at.set(station, new Map());
    return [this.#all, this.#at.get(station)];
  }

  #pairsOf(place) {
    const [all, atStation] = this.#placesOf(place);
    const own = this.#own.get(this.#ends[place]);
    return own + this.#fitting(place, all) - (atStation ? this.#fitting(place, atStation) : 0);
  }

  #fitting(place, places) {
    let n = 0;
    for (const [other, isBefore, isBehind] of this.#fits.get(this.#ends[place])) {
      const some = places.get(other);
      if (!some || !(isBefore || isBehind)) continue;
      if (isBefore && isBehind) n += some.length;
      else n += isBefore ? firstFrom(some, place) : some.length - firstFrom(some, place);
    }
    return n;
  }
}

/** Index of the first of numbers in order that is not below `x`. */
function firstFrom(numbers, x) {
  let [low, high] = [0, numbers.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Days that follow each other and are alike.
 *
 * @typedef {Object} Period
 * @property {number} first  day since 1970
 * @property {number} end    the day after its last
 * @property {number} nChannels       with a window
 * @property {number} nPairs          of these channels
 * @property {number} channelWindows  a day, of all channels
 * @property {number} pairWindows     a day: windows that both channels of a pair have, of all pairs
 * @property {number} nRows           output windows a day; 0 where no pair shares a window
 */

/** The windows inside the spans of channels, counted in a sweep over the starts and ends of channels. */
export class Periods {
  /**
   * @param {import("./stations.js").Channel[]} channels  in id order
   * @param {import("./windows.js").WindowGrid} windows
   * @param {Object} choice  the values PAIR_VALUES of params.csv
   */
  constructor(channels, windows, choice) {
    Object.assign(this, { channels, windows, choice });
    const known = new Map();
    this.runs = channels.map(({ spans }) => {
      const key = spans.join();
      if (!known.has(key)) known.set(key, windows.runs(spans));
      return known.get(key);
    });
    const n = windows.nWindows;
    this.dayRuns = this.runs.map((some) =>
      merged(some.map(([first, end]) => [Math.floor(first / n), Math.floor((end - 1) / n) + 1])),
    );
    /** @type {Period[]} those in which any channel has a window, in order */
    this.all = this.#counted();
    /** @type {Period[]} those in which at least one pair can be made */
    this.withPairs = this.all.filter((period) => period.pairWindows);
  }

  #counter() {
    return new PairCounter(this.channels, this.choice);
  }

  #counted() {
    const windows = this.#byWindows();
    const found = [];
    let k = 0;
    for (const [first, end, nChannels, nPairs] of swept(this.dayRuns, this.#counter())) {
      for (; k < windows.length && windows[k].first < end; k++) {
        const one = windows[k];
        found.push({
          ...one,
          first: Math.max(one.first, first),
          end: Math.min(one.end, end),
          nChannels,
          nPairs,
        });
        if (one.end > end) break;
      }
    }
    return found;
  }

  #byWindows() {
    const { nWindows: n, nKept } = this.windows;
    const least = this.choice.autocorrelations ? 1 : 2; // channels that share a window
    const days = new Map();
    const found = [];
    const part = (day, first, end, nChannels, nPairs) => {
      if (!days.has(day)) days.set(day, { channelWindows: 0, pairWindows: 0, used: [] });
      const one = days.get(day);
      one.channelWindows += (end - first) * nChannels;
      one.pairWindows += (end - first) * nPairs;
      if (nChannels >= least) one.used.push([first, end]);
    };
    for (const [first, end, nChannels, nPairs] of swept(this.runs, this.#counter())) {
      let a = Math.floor(first / n);
      const [at, b] = [first - a * n, Math.floor(end / n)];
      const until = end - b * n;
      if (at || a === b) {
        part(a, at, a === b ? until : n, nChannels, nPairs);
        a += 1;
      }
      if (a < b) {
        const totals = { channelWindows: n * nChannels, pairWindows: n * nPairs };
        found.push({ first: a, end: b, ...totals, nRows: nPairs ? nKept : 0 });
      }
      if (until && a <= b) part(b, 0, until, nChannels, nPairs);
    }
    for (const [day, { used, ...totals }] of days) {
      const nRows = totals.pairWindows ? this.windows.nRows(merged(used)) : 0;
      found.push({ first: day, end: day + 1, ...totals, nRows });
    }
    return found.sort((a, b) => a.first - b.first);
  }

  /** Different pairs, from the first window to the last of each channel; an upper bound. */
  get nPairs() {
    const outer = this.runs.map((some) => (some.length ? [[some[0][0], some.at(-1)[1]]] : []));
    let total = 0;
    for (const [, , made] of changes(outer, this.#counter())) total += made;
    return Math.min(
      total,
      sum(this.withPairs, (p) => p.nPairs * (p.end - p.first)),
    );
  }

  /** For every channel the days on which it has a window and some pair can be made. */
  get daysOf() {
    const firsts = this.withPairs.map((period) => period.first);
    const before = [0];
    for (const { first, end } of this.withPairs) before.push(before.at(-1) + end - first);
    const nBefore = (day) => {
      const k = firstFrom(firsts, day + 1) - 1;
      return k < 0 ? 0 : before[k] + Math.min(day, this.withPairs[k].end) - firsts[k];
    };
    return this.dayRuns.map((some) => sum(some, ([first, end]) => nBefore(end) - nBefore(first)));
  }
}

/** Sum of `value(item)` over all items. */
export function sum(items, value) {
  return items.reduce((total, item) => total + value(item), 0);
}

/** From, to, how many members are there, and how many pairs of them are wanted. */
function* swept(runs, counter) {
  let [before, inside, total] = [0, 0, 0];
  for (const [at, change] of changes(runs, counter)) {
    if (at > before && inside) yield [before, at, inside, total];
    [before, inside, total] = [at, inside + change, counter.total];
  }
}

/** The starts (1) and ends (-1) of members in order, and the pairs that each start adds. */
function* changes(runs, counter) {
  const events = runs
    .flatMap((some, place) =>
      some.flatMap(([first, end]) => [
        [first, 1, place],
        [end, -1, place],
      ]),
    )
    .sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]);
  for (const [at, change, place] of events) {
    if (change < 0) counter.remove(place);
    yield [at, change, change > 0 ? counter.add(place) : 0];
  }
}
