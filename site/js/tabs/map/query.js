/** Queries of FDSN station services, and the check of channels against them. */

import { DAY, formatTime, parseTime } from "../../request/stations.js";
import { contains, readBox, SIDES, split } from "./box.js";

/** Names of the filters: fields of the form, of the address, and of FDSN where they have the same. */
export const CODES = ["network", "station", "location", "channel"];
export const FILTERS = [...CODES, "start", "end", ...SIDES];

const ALLOWED = /^[A-Za-z0-9*?,_-]*$/;
const BOX_NAMES = {
  north: "maxlatitude",
  south: "minlatitude",
  west: "minlongitude",
  east: "maxlongitude",
};

/**
 * Parse the filters.
 *
 * @param {Object<string, string>} filters  by name; "" means any
 * @returns {{query: Object|null, errors: Object<string, string>}}  `query`: codes in capitals,
 *     `start` and `end` in ms or null, `box` or null; errors by filter
 */
export function readFilters(filters) {
  const { box, errors } = readBox(filters);
  const query = { box };
  for (const name of CODES) {
    const text = (filters[name] ?? "").replaceAll(" ", "");
    if (!ALLOWED.test(text)) errors[name] = "may contain only letters, digits, * ? , _ and -";
    query[name] = text === "*" ? "" : text.toUpperCase();
  }
  for (const name of ["start", "end"]) {
    const text = (filters[name] ?? "").trim();
    query[name] = text ? readTime(text) : null;
    if (text && query[name] === null)
      errors[name] = "is not a date; write YYYY-MM-DD or YYYY-MM-DDThh:mm";
  }
  if (query.start !== null && query.end !== null && query.start >= query.end)
    errors.end = "must be later than the start";
  const isOpen = !query.network && !query.station && !box;
  if (isOpen && !Object.keys(errors).length)
    errors.network = "matches the whole world: name a network, a station or an area";
  return { query: Object.keys(errors).length ? null : query, errors };
}

function readTime(text) {
  const full = text
    .replace(" ", "T")
    .replace(/^(\d{4})$/, "$1-01-01")
    .replace(/^(\d{4}-\d\d)$/, "$1-01");
  return parseTime(/T\d\d:\d\d$/.test(full) ? `${full}:00` : full);
}

/**
 * The addresses of a query for channels: two where the box crosses the dateline.
 *
 * @param {string} centre  URL of a data centre
 * @param {Object} query   of `readFilters`
 * @returns {string[]}
 */
export function queryUrls(centre, query) {
  const codes = CODES.filter((name) => query[name]).map((name) => [name, query[name]]);
  const times = ["start", "end"]
    .filter((name) => query[name] !== null)
    .map((name) => [`${name}time`, formatTime(query[name])]);
  const boxes = query.box ? split(query.box) : [null];
  return boxes.map((box) => {
    const sides = box ? SIDES.map((side) => [BOX_NAMES[side], String(box[side])]) : [];
    const all = [
      ...codes,
      ...times,
      ...sides,
      ["level", "channel"],
      ["format", "text"],
      ["nodata", "404"],
    ];
    return `${centre}/fdsnws/station/1/query?${new URLSearchParams(all)}`;
  });
}

/** The address of the same query as that of `queryUrls`, for StationXML with responses. */
export function asStationXml(url) {
  const asked = new URL(url);
  asked.searchParams.set("level", "response");
  asked.searchParams.set("format", "xml");
  return String(asked);
}

/** The address of a station's StationXML with responses. */
export function stationXmlUrl(centre, network, station) {
  const asked = new URLSearchParams({ network, station, level: "response", format: "xml" });
  return `${centre}/fdsnws/station/1/query?${asked}`;
}

/**
 * The channels that match a query: services differ in how they apply times and boxes.
 *
 * @param {Object[]} channels  of `parseChannels`
 * @param {Object} query
 */
export function onlyMatching(channels, query) {
  const patterns = CODES.filter((name) => query[name]).map((name) => [
    name,
    patternOf(query[name]),
  ]);
  const found = [];
  for (const channel of channels) {
    if (!patterns.every(([name, pattern]) => pattern.test(channel[name]))) continue;
    if (query.box && !contains(query.box, channel.latitude, channel.longitude)) continue;
    const epochs = channel.epochs.filter((epoch) => touches(epoch, query));
    if (epochs.length === channel.epochs.length) found.push(channel);
    else if (epochs.length) found.push({ ...channel, epochs });
  }
  return found;
}

function touches(epoch, { start, end }) {
  return (
    (end === null || epoch.start < end) &&
    (start === null || epoch.end === null || epoch.end > start)
  );
}

/** "BH?,LHZ" -> a pattern of complete codes; -- is a blank one. */
export function patternOf(codes) {
  const parts = codes
    .split(",")
    .map((code) =>
      code === "--"
        ? ""
        : code.replace(/[*?]|[^A-Z0-9]/g, (char) => ({ "*": ".*", "?": "." })[char] ?? `\\${char}`),
    );
  return new RegExp(`^(${parts.join("|")})$`);
}

/** The days of a query, for messages; null where one end is open. */
export function daysOf(query) {
  return query.start === null || query.end === null ? null : (query.end - query.start) / DAY;
}
