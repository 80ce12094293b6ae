/** The text of an FDSN station service -> channels with their epochs; channels -> stations. */

import { parseTime } from "../stations.js";

const NAMES = {
  network: "network", station: "station", location: "location", channel: "channel",
  latitude: "latitude", longitude: "longitude", elevation: "elevation", depth: "depth",
  azimuth: "azimuth", dip: "dip", sensordescription: "sensor", instrument: "sensor",
  scale: "scale", scalefreq: "scaleFreq", scalefrequency: "scaleFreq", scaleunits: "scaleUnits",
  samplerate: "sampleRate", starttime: "start", endtime: "end",
};
const NEEDED = ["network", "station", "location", "channel", "latitude", "longitude", "start", "end"];
const FAR = Date.UTC(2500, 0, 1); // an end after this means that there is none
const CODE = { network: /^[A-Z0-9_]{1,8}$/, station: /^[A-Z0-9-]{1,8}$/, location: /^[A-Z0-9]{0,8}$/, channel: /^[A-Z0-9]{3}$/ };

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
 * @property {{start: number, end: number|null, sampleRate: number|null, sensor: string}[]} epochs
 *     in order; `end` null: still open
 */

/**
 * Read format=text of level=channel.
 *
 * @param {string} text
 * @returns {{channels: FoundChannel[], rejected: string[]}}  `rejected`: a sentence for every line
 *     that could not be read
 * @throws {SyntaxError} if it is no such text at all
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
      if (!columns) throw new SyntaxError("it does not begin with the names of its columns");
      const row = readRow(line, columns);
      if (typeof row === "string") rejected.push(`line ${k + 1} ${row}`);
      else addEpoch(found, row);
    }
  });
  for (const channel of found.values()) finish(channel);
  return { channels: [...found.values()].sort((a, b) => (a.id < b.id ? -1 : 1)), rejected };
}

function readHeader(line) {
  const columns = line.slice(1).split("|").map((name) => NAMES[name.trim().toLowerCase()] ?? "");
  const missing = NEEDED.filter((name) => !columns.includes(name));
  if (missing.length) throw new SyntaxError(`it lacks the columns ${missing.join(", ")}`);
  return columns;
}

/** A row by column, or what is wrong with it. */
function readRow(line, columns) {
  const cells = line.split("|");
  const sensor = columns.indexOf("sensor");
  const surplus = cells.length - columns.length;
  // The description of the sensor is the only free text, so what is too much is part of it.
  if (surplus > 0 && sensor >= 0) cells.splice(sensor, surplus + 1, cells.slice(sensor, sensor + surplus + 1).join("|"));
  if (cells.length !== columns.length) return `has ${cells.length} fields instead of ${columns.length}`;
  const row = {};
  columns.forEach((name, j) => {
    row[name] = cells[j].trim();
  });
  if (row.location === "--") row.location = "";
  for (const [name, pattern] of Object.entries(CODE)) {
    if (!pattern.test(row[name])) return `has no ${name} code`;
  }
  const start = parseTime(row.start);
  const end = row.end ? parseTime(row.end) : FAR;
  if (start === null || end === null) return "has a time that cannot be read";
  return {
    id: `${row.network}.${row.station}.${row.location}.${row.channel}`,
    network: row.network,
    station: row.station,
    location: row.location,
    channel: row.channel,
    latitude: number(row.latitude, 90),
    longitude: number(row.longitude, 360),
    elevation: number(row.elevation),
    depth: number(row.depth),
    azimuth: number(row.azimuth),
    dip: number(row.dip),
    epoch: { start, end: end >= FAR ? null : end, sampleRate: number(row.sampleRate), sensor: row.sensor ?? "" },
  };
}

function number(text, most = Infinity) {
  const value = text ? Number(text) : NaN;
  return Number.isFinite(value) && Math.abs(value) <= most ? value : null;
}

function addEpoch(found, { epoch, ...row }) {
  const known = found.get(row.id);
  if (known) {
    if (!known.epochs.some((one) => one.start === epoch.start && one.end === epoch.end)) known.epochs.push(epoch);
    // The newest place stands for the channel.
    if (epoch.start > known.newest) Object.assign(known, row, { newest: epoch.start });
  } else {
    found.set(row.id, { ...row, newest: epoch.start, epochs: [epoch] });
  }
}

function finish(channel) {
  delete channel.newest;
  channel.epochs.sort((a, b) => a.start - b.start);
  const last = channel.epochs.at(-1);
  channel.sampleRate = last.sampleRate;
  channel.sensor = last.sensor;
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
    else found.set(code, { code, latitude: channel.latitude, longitude: channel.longitude, channels: [channel] });
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
