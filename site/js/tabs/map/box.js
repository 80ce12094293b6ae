/** Areas of the map: boxes in degrees, also those that cross the dateline. */

/**
 * A box; `west` > `east` crosses the dateline.
 *
 * @typedef {{north: number, west: number, east: number, south: number}} Box
 */

export const SIDES = ["north", "south", "west", "east"];
const LIMIT = { north: 90, south: 90, west: 180, east: 180 };

/**
 * Read the four fields of a box.
 *
 * @param {Object<string, string>} texts  by side; all empty means no box
 * @returns {{box: Box|null, errors: Object<string, string>}}
 */
export function readBox(texts) {
  const errors = {};
  const given = SIDES.filter((side) => (texts[side] ?? "").trim() !== "");
  if (!given.length) return { box: null, errors };
  const box = {};
  for (const side of SIDES) {
    const text = (texts[side] ?? "").trim();
    const value = Number(text);
    if (!text) errors[side] = "is required: an area has four sides";
    else if (!Number.isFinite(value)) errors[side] = "is not a number";
    else if (Math.abs(value) > LIMIT[side])
      errors[side] = `is out of range (-${LIMIT[side]} to ${LIMIT[side]} degrees)`;
    box[side] = value;
  }
  if (!errors.north && !errors.south && box.south >= box.north)
    errors.south = "must be south of the north side";
  if (!errors.west && !errors.east && box.west === box.east)
    errors.east = "must differ from the west side";
  return { box: Object.keys(errors).length ? null : box, errors };
}

/**
 * The box between two corners of a map that goes round the world more than once.
 *
 * @param {{lat: number, lng: number}} a
 * @param {{lat: number, lng: number}} b
 * @returns {Box}  rounded to 1e-4 degrees
 */
export function boxBetween(a, b) {
  const [west, east] = [Math.min(a.lng, b.lng), Math.max(a.lng, b.lng)];
  const clip = (lat) => Math.max(-90, Math.min(90, lat));
  const isRound = east - west >= 360;
  return {
    north: round(clip(Math.max(a.lat, b.lat))),
    south: round(clip(Math.min(a.lat, b.lat))),
    west: isRound ? -180 : round(wrap(west)),
    east: isRound ? 180 : round(wrap(east)),
  };
}

/** The box as boxes that do not cross the dateline: one or two. */
export function split(box) {
  if (box.west <= box.east) return [box];
  return [
    { ...box, east: 180 },
    { ...box, west: -180 },
  ];
}

/** Whether a place lies in a box, its edges included. */
export function contains(box, latitude, longitude) {
  if (latitude === null || longitude === null || latitude < box.south || latitude > box.north)
    return false;
  const lng = wrap(longitude);
  return box.west <= box.east
    ? box.west <= lng && lng <= box.east
    : lng >= box.west || lng <= box.east;
}

/** A longitude within -180 and 180. */
export function wrap(longitude) {
  return longitude >= -180 && longitude <= 180
    ? longitude
    : ((((longitude + 180) % 360) + 360) % 360) - 180;
}

function round(degrees) {
  return Math.round(degrees * 1e4) / 1e4;
}
