/** The text of an FDSN station service -> channels with their epochs; channels -> stations. */

import { inOrder, merge, parseTime } from "../../request/stations.js";

const NAMES = {
  network: "network",
  station: "station",
  location: "location",
  channel: "channel",
  latitude: "latitude",
  longitude: "longitude",
  elevation: "elevation",
  sensordescription: "sensor",
  instrument: "sensor",
  samplerate: "sampleRate",
  starttime: "start",
  endtime: "end",
};
const NEEDED = [
  "network",
  "station",
  "location",
  "channel",
  "latitude",
  "longitude",
  "start",
  "end",
];
const FIRST = Date.UTC(1970, 0, 1); // of stations.csv
const FAR = Date.UTC(2500, 0, 1); // an end after this means that there is none
const CODE = {
  network: /^[A-Z0-9_]{1,8}$/,
  station: /^[A-Z0-9-]{1,8}$/,
  location: /^[A-Z0-9]{0,8}$/,
  channel: /^[A-Z0-9]{3}$/,
};

/**
 * A channel of a data centre; its own values are those of its last epoch.
 *
 * @typedef {Object} FoundChannel
 * @property {string} id
 * @property {string} network
 * @property {string} station
 * @property {string} location
 * @property {string} channel
 * @property {number|null} latitude
 * @property {number|null} longitude
 * @property {number|null} elevation
 * @property {number|null} sampleRate
 * @property {string} sensor
 * @property {Object} epoch  the last of `epochs`
 * @property {{start: number, end: number|null, sampleRate: number|null, sensor: string}[]} epochs
 *     in order; `end` null: still open
 */

/**
 * Read format=text of level=channel.
 *
 * @param {string} text
 * @returns {{channels: FoundChannel[], rejected: string[]}}  `rejected`: an error for every line
 *     that could not be read
 * @throws {SyntaxError} if the text has another format
 */
export function parseChannels(text) {
  const lines = text.split(/\r?\n/);
  let columns = null;
  const found = new Map();
  const rejected = [];
  lines.forEach((line, k) => {
    if (line.startsWith("#")) {
      columns ??= readHeader(line);
    } else if (line.trim()) {
      if (!columns) throw new SyntaxError("it has no header line");
      const row = readRow(line, columns);
      if (typeof row === "string") rejected.push(`line ${k + 1} ${row}`);
      else addEpoch(found, row);
    }
  });
  for (const channel of found.values()) finish(channel);
  return { channels: [...found.values()].sort((a, b) => (a.id < b.id ? -1 : 1)), rejected };
}

/** The index of each column, by name. */
function readHeader(line) {
  const names = line
    .slice(1)
    .split("|")
    .map((name) => NAMES[name.trim().toLowerCase()]);
  const at = Object.fromEntries(names.map((name, k) => [name, k]).filter(([name]) => name));
  const missing = NEEDED.filter((name) => !(name in at));
  if (missing.length) throw new SyntaxError(`it lacks the columns ${missing.join(", ")}`);
  return { at, length: names.length, timeOf: remembered(parseTime) };
}

/** A row by column, or its error as a string. */
function readRow(line, { at, length, timeOf }) {
  const cells = line.split("|");
  const surplus = cells.length - length;
  // The description of the sensor is the only free text, so surplus separators belong to it.
  if (surplus > 0 && "sensor" in at)
    cells.splice(at.sensor, surplus + 1, cells.slice(at.sensor, at.sensor + surplus + 1).join("|"));
  if (cells.length !== length) return `has ${cells.length} fields instead of ${length}`;
  const of = (name) => (at[name] === undefined ? "" : cells[at[name]].trim());
  const [network, station, written, channel] = [
    of("network"),
    of("station"),
    of("location"),
    of("channel"),
  ];
  const location = written === "--" ? "" : written;
  if (!CODE.network.test(network)) return "has no valid network code";
  if (!CODE.station.test(station)) return "has no valid station code";
  if (!CODE.location.test(location)) return "has no valid location code";
  if (!CODE.channel.test(channel)) return "has no valid channel code";
  const [start, end] = [timeOf(of("start")), of("end") ? timeOf(of("end")) : FAR];
  if (start === null || end === null) return "has an invalid time";
  return {
    id: `${network}.${station}.${location}.${channel}`,
    network,
    station,
    location,
    channel,
    latitude: number(of("latitude"), 90),
    longitude: number(of("longitude"), 360),
    elevation: number(of("elevation")),
    epoch: {
      start,
      end: end >= FAR ? null : end,
      sampleRate: number(of("sampleRate")),
      sensor: of("sensor"),
    },
  };
}

/** Many rows have the same times. */
function remembered(compute) {
  const known = new Map();
  return (text) => {
    if (!known.has(text)) known.set(text, compute(text));
    return known.get(text);
  };
}

function number(text, most = Infinity) {
  const value = text ? Number(text) : NaN;
  return Number.isFinite(value) && Math.abs(value) <= most ? value : null;
}

function addEpoch(found, row) {
  const { epoch } = row;
  const known = found.get(row.id);
  if (known) {
    if (!known.epochs.some((one) => one.start === epoch.start && one.end === epoch.end))
      known.epochs.push(epoch);
    // The coordinates of the newest epoch are those of the channel.
    if (epoch.start > known.epoch.start) Object.assign(known, row);
  } else {
    row.epochs = [epoch];
    found.set(row.id, row);
  }
}

function finish(channel) {
  if (channel.epochs.length > 1) channel.epochs.sort((a, b) => a.start - b.start);
  channel.sampleRate = channel.epoch.sampleRate;
  channel.sensor = channel.epoch.sensor;
}

/**
 * Whether a channel still records.
 *
 * @param {FoundChannel} channel
 * @param {number} now  ms
 */
export function isOpen(channel, now) {
  const { end } = channel.epochs.at(-1);
  return end === null || end > now;
}

/**
 * Channels by their stations.
 *
 * @param {FoundChannel[]} channels
 * @returns {{code: string, latitude: number, longitude: number, channels: FoundChannel[]}[]}
 *     stations with a place, in the order of their codes
 */
export function stationsOf(channels) {
  const found = new Map();
  for (const channel of channels) {
    if (channel.latitude === null || channel.longitude === null) continue;
    const code = `${channel.network}.${channel.station}`;
    const station = found.get(code);
    if (station) station.channels.push(channel);
    else
      found.set(code, {
        code,
        latitude: channel.latitude,
        longitude: channel.longitude,
        channels: [channel],
      });
  }
  return [...found.values()];
}

/** How many channels, stations and networks there are. */
export function countsOf(channels) {
  return {
    channels: channels.length,
    stations: new Set(channels.map((c) => `${c.network}.${c.station}`)).size,
    networks: new Set(channels.map((c) => c.network)).size,
  };
}

/** Stations as GeoJSON, for other programs. */
export function toGeoJson(channels) {
  const features = stationsOf(channels).map((station) => ({
    type: "Feature",
    geometry: { type: "Point", coordinates: [station.longitude, station.latitude] },
    properties: { station: station.code, channels: station.channels.map((c) => c.id) },
  }));
  return JSON.stringify({ type: "FeatureCollection", features }, null, 1);
}

/**
 * Found channels -> channels of stations.csv: their epochs within a window, always with an end.
 *
 * @param {FoundChannel[]} found
 * @param {{start: number|null, end: number|null}} window  ms
 * @param {number} now  ms; where an open epoch in an open window ends
 * @param {string} dataCenter  where they were found
 * @returns {import("../../request/stations.js").Channel[]}  in id order; those with nothing in the window are
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
