/** stations.csv <-> channels with the requested times, as in the worker (stations.py). */

import { formatCsv } from "../lib/csv.js";
import { formatValue, parseNumber, problem, rowsOf } from "./csv_table.js";
import { roundEven } from "../lib/python_numbers.js";

export const STATIONS = "stations.csv";
export const COLUMNS = ["Network", "Station", "Location", "Channel", "StartDate", "EndDate"];
export const OPTIONAL = ["Latitude", "Longitude", "Elevation", "SampleRate", "DataCenter"];
export const DAY = 86_400_000; // ms

const MINUTE = 60_000; // ms
const MICROSECOND = 0.001; // ms
const CODES = {
  Network: [/^[A-Z0-9]{1,8}$/, "is not a network code (1 to 8 capital letters or digits)"],
  Station: [/^[A-Z0-9][A-Z0-9-]{0,7}$/, "is not a station code (1 to 8 capital letters or digits)"],
  Location: [
    /^(--|[A-Z0-9]{0,8})$/,
    "is not a location code (2 capital letters or digits, or empty)",
  ],
  Channel: [/^[A-Z0-9]{3}$/, "is not a channel code (3 capital letters or digits, such as BHZ)"],
  DataCenter: [
    /^[A-Za-z0-9_-]{0,32}$/,
    "is not a valid name of a data centre (up to 32 letters, digits, _ or -)",
  ],
};
const ID_COLUMNS = ["Network", "Station", "Location", "Channel"];
const RANGES = {
  Latitude: [-90, 90, "degrees"],
  Longitude: [-180, 360, "degrees"],
  Elevation: [-12000, 9000, "m"],
  SampleRate: [0, 100000, "Hz"],
};
const DATE = /^(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d):(\d\d)(\.\d{1,6})?Z?)?$/;

/**
 * A channel and its requested spans.
 *
 * @typedef {Object} Channel
 * @property {string} id  such as TA.I02A..BHZ
 * @property {string} network
 * @property {string} station
 * @property {string} location  empty means blank
 * @property {string} channel
 * @property {[number, number][]} spans  [start, end), ms since 1970, UTC; in order and apart
 * @property {number|null} latitude   degrees
 * @property {number|null} longitude  degrees
 * @property {number|null} elevation  m
 * @property {number|null} sampleRate Hz
 * @property {string} dataCenter
 */

/**
 * stations.csv -> channels in id order, rows of one channel merged where they touch.
 *
 * @param {string} text
 * @param {Object} limits  limits.json
 * @returns {{channels: Channel[], named: Channel[], hasAllCodes: boolean,
 *     problems: import("./csv_table.js").Problem[]}}  `channels`: none where there are problems;
 *     `named`: rows with valid codes, with their valid spans; `hasAllCodes`: whether it
 *     names every channel
 */
export function parseStations(text, limits) {
  const table = rowsOf(STATIONS, text, COLUMNS, OPTIONAL, limits.stations);
  const problems = [...table.problems];
  const found = new Map();
  const lines = new Map();
  let hasAllCodes =
    table.rows.length === table.nRows && !ID_COLUMNS.some((name) => table.unknown.has(name));
  for (const [line, row] of table.rows) {
    const written = Object.values(row).join("\n");
    if (lines.has(written)) {
      problems.push(
        problem(
          STATIONS,
          line,
          "",
          "",
          `repeats line ${lines.get(written)}; delete one of the two`,
        ),
      );
      continue;
    }
    lines.set(written, line);
    const { channel, wrong } = stationRow(row, limits.stations);
    for (const [column, need] of wrong)
      problems.push(problem(STATIONS, line, column, row[column], need));
    if (!channel) hasAllCodes = false;
    else if (found.has(channel.id)) found.get(channel.id).spans.push(...channel.spans);
    else found.set(channel.id, channel);
  }
  const named = inOrder(
    [...found.values()].map((channel) => ({ ...channel, spans: merge(channel.spans) })),
  );
  problems.push(...tooMany(named, table.rows.length, limits.stations));
  if (!problems.length && !named.length)
    problems.push(problem(STATIONS, 0, "", "", "contains no channel"));
  return { channels: problems.length ? [] : named, named, hasAllCodes, problems };
}

/** A row as a channel, without its invalid values; null where a code is invalid. */
function stationRow(row, limits) {
  const wrong = Object.entries(CODES)
    .filter(([column, [pattern]]) => column in row && !pattern.test(row[column]))
    .map(([column, [, need]]) => [column, need]);
  const isNamed = ID_COLUMNS.every(
    (name) => name in row && !wrong.some(([column]) => column === name),
  );
  const times = timesOf(row, limits, wrong);
  const numbers = numbersOf(row, wrong);
  const spans = spansOf(times, row, limits, wrong);
  if (!isNamed) return { channel: null, wrong };
  const location = row.Location.replaceAll("--", "");
  const channel = {
    id: `${row.Network}.${row.Station}.${location}.${row.Channel}`,
    network: row.Network,
    station: row.Station,
    location,
    channel: row.Channel,
    spans,
    latitude: numbers.Latitude,
    longitude: numbers.Longitude,
    elevation: numbers.Elevation,
    sampleRate: numbers.SampleRate,
    dataCenter: row.DataCenter ?? "",
  };
  return { channel, wrong };
}

/** The valid dates of a row (ms), by column; the others are added to `wrong`. */
function timesOf(row, limits, wrong) {
  const times = {};
  for (const column of ["StartDate", "EndDate"]) {
    if (!(column in row)) continue;
    const time = parseTime(row[column]);
    if (time === null) wrong.push([column, "is not a date; write YYYY-MM-DDThh:mm:ss"]);
    else if (new Date(time).getUTCFullYear() < limits.first_year)
      wrong.push([column, `is before ${limits.first_year}`]);
    else times[column] = time;
  }
  return times;
}

/** The numbers of a row by column, null where there is none; invalid ones are added to `wrong`. */
function numbersOf(row, wrong) {
  const numbers = {};
  for (const [column, [low, high, unit]] of Object.entries(RANGES)) {
    const text = row[column] ?? "";
    const number = text ? parseNumber(text) : null;
    const isInside = number !== null && low <= number && number <= high;
    if (text && !isInside) wrong.push([column, `is not a number from ${low} to ${high} ${unit}`]);
    numbers[column] = isInside ? number : null;
  }
  return numbers;
}

/** The span of a row, or none where it is invalid. */
function spansOf({ StartDate: start, EndDate: end }, row, limits, wrong) {
  if (start === undefined || end === undefined) return [];
  const need = spanNeed(start, end, row.StartDate, limits);
  if (!need) return [[start, endOfSpan(end)]];
  wrong.push(["EndDate", need]);
  return [];
}

/**
 * An EndDate (ms), or the full minute after one in the last second of a minute: many write
 * 23:59:59 for the whole day (_end_of_span in stations.py).
 */
function endOfSpan(end) {
  const minute = Math.floor(end / MINUTE) * MINUTE;
  const isLast = end - minute >= MINUTE - 1000 && new Date(end).getUTCFullYear() < 9999;
  return isLast ? minute + MINUTE : end;
}

/** The rule that a span breaks; empty where it is valid. `written` is its start in the file. */
function spanNeed(start, end, written, limits) {
  const days = (end - start) / DAY;
  if (days <= 0) return `must be later than StartDate (${written})`;
  if (days <= limits.max_days) return "";
  return `gives a span of ${roundEven(days)} days; at most ${limits.max_days} are allowed`;
}

/**
 * A date or a time in UTC -> ms since 1970; null where it is none.
 *
 * @param {string} text  YYYY-MM-DD or YYYY-MM-DDThh:mm:ss, maybe with a fraction and a Z
 */
export function parseTime(text) {
  const match = DATE.exec(text);
  if (!match) return null;
  const [year, month, day, hour, minute, second] = match
    .slice(1, 7)
    .map((part) => Number(part ?? 0));
  const time = new Date(0);
  time.setUTCFullYear(year, month - 1, day);
  const isDay = time.getUTCMonth() === month - 1 && time.getUTCDate() === day && year > 0;
  if (!isDay || hour > 23 || minute > 59 || second > 59) return null;
  return time.setUTCHours(hour, minute, second) + Number(match[7] ?? 0) * 1000;
}

/** ms since 1970 -> YYYY-MM-DDThh:mm:ss, with a fraction only where there is one. */
export function formatTime(ms) {
  const whole = Math.floor(ms / 1000) * 1000;
  const micros = Math.round((ms - whole) * 1000);
  const seconds = new Date(whole).toISOString().slice(0, 19);
  return micros ? `${seconds}.${String(micros).padStart(6, "0")}` : seconds;
}

/** Two times for people: days alone where both are midnights. */
export function spanText(start, end) {
  const isDays = start % DAY === 0 && end % DAY === 0;
  const text = (ms) =>
    formatTime(ms)
      .slice(0, isDays ? 10 : 16)
      .replace("T", " ");
  return `${text(start)} to ${text(end)} UTC`;
}

/** Channels in the order of their ids, by code point as Python sorts. */
export function inOrder(channels) {
  return channels.sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
}

/** Join spans that touch or overlap. */
export function merge(spans) {
  const merged = [];
  for (const [start, end] of [...spans].sort((a, b) => a[0] - b[0] || a[1] - b[1])) {
    const last = merged.at(-1);
    if (last && start <= last[1]) last[1] = Math.max(end, last[1]);
    else merged.push([start, end]);
  }
  return merged;
}

/** First and last UTC day (days since 1970) of spans in order, joined where they meet. */
export function dayRanges(spans) {
  const joined = [];
  for (const [start, end] of spans) {
    const first = Math.floor(start / DAY);
    const last = Math.max(first, Math.floor((end - MICROSECOND) / DAY));
    const before = joined.at(-1);
    if (before && first <= before[1] + 1) before[1] = Math.max(last, before[1]);
    else joined.push([first, last]);
  }
  return joined;
}

function tooMany(channels, nRows, limits) {
  const problems = [];
  const add = (need) => problems.push(problem(STATIONS, 0, "", "", need));
  if (nRows > limits.max_rows) add(`has ${nRows} rows; at most ${limits.max_rows} are allowed`);
  if (channels.length > limits.max_channels) {
    add(
      `contains ${channels.length} channels; at most ${limits.max_channels} are allowed in one job`,
    );
  }
  const ranges = dayRanges(merge(channels.flatMap((channel) => channel.spans)));
  const nDays = ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0);
  if (nDays > limits.max_days)
    add(`requests ${nDays} days; at most ${limits.max_days} are allowed in one job`);
  return problems;
}

/** The stations.csv that `parseStations` reads back, a line for every span. */
export function formatStations(channels) {
  const rows = channels.flatMap((c) =>
    c.spans.map((span) => [
      ...[c.network, c.station, c.location, c.channel],
      ...span.map(formatTime),
      ...[c.latitude, c.longitude, c.elevation, c.sampleRate].map(formatValue),
      c.dataCenter,
    ]),
  );
  return formatCsv([[...COLUMNS, ...OPTIONAL], ...rows]);
}
