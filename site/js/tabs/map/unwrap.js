/** Shapes that cross the dateline, joined: their longitudes continue beyond 180 degrees. */

/**
 * A GeoJSON geometry or feature whose lines nowhere jump from one side of the map to the other.
 *
 * A ring that goes round the world, as Antarctica's does, is closed along its pole.
 *
 * @param {Object} shape  of longitudes within -180 and 180
 */
export function unwrap(shape) {
  const parts = {
    Feature: () => ({ ...shape, geometry: unwrap(shape.geometry) }),
    FeatureCollection: () => ({ ...shape, features: shape.features.map(unwrap) }),
    MultiLineString: () => ({ ...shape, coordinates: shape.coordinates.map(line) }),
    LineString: () => ({ ...shape, coordinates: line(shape.coordinates) }),
    Polygon: () => ({ ...shape, coordinates: shape.coordinates.map(ring) }),
    MultiPolygon: () => ({
      ...shape,
      coordinates: shape.coordinates.map((polygon) => polygon.map(ring)),
    }),
  };
  return parts[shape.type]();
}

function line(points) {
  let turns = 0;
  const whole = points.map(([lng, lat], k) => {
    const step = k ? lng - points[k - 1][0] : 0;
    if (step > 180) turns -= 360;
    if (step < -180) turns += 360;
    return [lng + turns, lat];
  });
  if (!whole.some(([lng]) => Math.abs(lng) > 180)) return whole;
  // Most of it belongs where the map begins, whichever side its first point was on.
  const [least, most] = whole.reduce(
    ([low, high], [lng]) => [Math.min(low, lng), Math.max(high, lng)],
    [Infinity, -Infinity],
  );
  const back = 360 * Math.round((least + most) / 720);
  return whole.map(([lng, lat]) => [lng - back, lat]);
}

function ring(points) {
  const whole = line(points);
  const [first, last] = [whole[0], whole.at(-1)];
  if (Math.abs(last[0] - first[0]) < 180) return whole;
  const pole = Math.sign(first[1]) * 90;
  return [...whole, [last[0], pole], [first[0], pole], first];
}
