/** The background of the map: land from Natural Earth, a graticule, and raster layers if any. */

import * as L from "../../../vendor/leaflet@1.9.4/leaflet.js";
import { feature, mesh } from "../../../vendor/topojson-client@3.1.0/topojson-client.js";
import { ask } from "../../lib/http.js";
import { unwrap } from "./unwrap.js";

const ATLAS = "vendor/world-atlas@2.0.2";
const REACH = 30; // degrees
const FINE_FROM = 4; // zoom from which coasts and borders are drawn in detail
const STEPS = [
  [2, 30],
  [4, 10],
  [6, 5],
  [8, 1],
  [10, 0.25],
  [19, 0.05],
]; // to this zoom, degrees
const TILE_ERRORS = 3; // in a row, after which a raster layer is taken away

/**
 * Draw land, and from some zoom on finer coasts and borders, which are fetched when needed.
 *
 * @returns {{restyle: () => void}}  to be called when the theme has changed
 */
export function addLand(map) {
  const renderer = pane(map, "land", 150); // below raster layers
  const drawn = new Map(); // layers by "fine" or "coarse" and by copy of the world
  const loaded = new Map(); // geometries

  async function geometries(isFine) {
    if (!loaded.has(isFine)) loaded.set(isFine, isFine ? fetchFine() : fetchCoarse());
    return loaded.get(isFine);
  }

  async function draw() {
    const isFine = map.getZoom() >= FINE_FROM;
    const shapes = await geometries(isFine);
    if (isFine !== map.getZoom() >= FINE_FROM) return; // it was zoomed on meanwhile
    const view = map.getBounds();
    // Land that crosses the dateline reaches some way beyond its copy of the world.
    const [first, last] = [view.getWest() - REACH, view.getEast() + REACH].map((lng) =>
      Math.floor((lng + 180) / 360),
    );
    const wanted = [];
    // The world goes round: a view over the dateline sees it twice.
    for (let copy = first; copy <= last; copy++) {
      wanted.push(`${isFine} ${copy}`);
      if (!drawn.has(wanted.at(-1)))
        drawn.set(
          wanted.at(-1),
          shapes.map((shape) => layer(shape, copy * 360, renderer)),
        );
    }
    for (const [key, layers] of drawn) {
      for (const one of layers) wanted.includes(key) ? one.addTo(map) : one.remove();
    }
  }

  map.on("moveend", draw);
  draw();
  return {
    restyle() {
      for (const one of [...drawn.values()].flat()) one.setStyle(look[one.options.look]());
    },
  };
}

async function fetchCoarse() {
  const topology = await fetchTopology("land-110m.json");
  return [["land", unwrap(feature(topology, topology.objects.land))]];
}

async function fetchFine() {
  const topology = await fetchTopology("countries-50m.json");
  return [
    ["land", unwrap(feature(topology, topology.objects.land))],
    ["border", unwrap(mesh(topology, topology.objects.countries, (a, b) => a !== b))],
  ];
}

async function fetchTopology(name) {
  return (await ask(`${ATLAS}/${name}`)).json();
}

function layer([name, geometry], offset, renderer) {
  const coordsToLatLng = ([lng, lat]) => L.latLng(lat, lng + offset);
  return L.geoJSON(geometry, {
    look: name,
    style: look[name](),
    renderer,
    interactive: false,
    coordsToLatLng,
  });
}

function pane(map, name, zIndex) {
  Object.assign(map.createPane(name).style, { zIndex, pointerEvents: "none" });
  return L.canvas({ pane: name, padding: 0.3 });
}

/** A colour of map.css: computed, since a variable is only its text, such as `light-dark(...)`. */
function of(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}
const look = {
  land: () => ({
    color: of("--map-coast"),
    fillColor: of("--map-land"),
    fillOpacity: 1,
    weight: 0.8,
  }),
  border: () => ({ color: of("--map-border"), fill: false, weight: 0.7 }),
  grid: () => ({ color: of("--map-grid"), weight: 0.7, opacity: 1 }),
};

/**
 * Lines of equal latitude and longitude, at steps that depend on the zoom.
 *
 * @returns {{restyle: () => void}}
 */
export function addGraticule(map) {
  const renderer = pane(map, "grid", 250);
  const lines = L.polyline([], { ...look.grid(), renderer, interactive: false }).addTo(map);
  function draw() {
    const step = STEPS.find(([zoom]) => map.getZoom() <= zoom)[1];
    const view = map.getBounds();
    const from = (low) => Math.floor(low / step) * step;
    const all = [];
    for (let lng = from(view.getWest()); lng <= view.getEast(); lng += step)
      all.push([
        [-85, lng],
        [85, lng],
      ]);
    for (
      let lat = Math.max(-80, from(view.getSouth()));
      lat <= Math.min(80, view.getNorth());
      lat += step
    ) {
      all.push([
        [lat, view.getWest()],
        [lat, view.getEast()],
      ]);
    }
    lines.setLatLngs(all);
  }
  map.on("moveend", draw);
  draw();
  return { restyle: () => lines.setStyle(look.grid()) };
}

/**
 * A raster layer over the land; after three failed tiles in a row `onTrouble` is called.
 *
 * @param {{title: string, url: string, attribution: string}} basemap
 * @param {() => void} onTrouble
 */
export function rasterLayer(basemap, onTrouble) {
  let errors = 0;
  return L.tileLayer(basemap.url, {
    attribution: basemap.attribution,
    maxZoom: 16,
    referrerPolicy: "strict-origin-when-cross-origin",
  })
    .on("tileload", () => (errors = 0))
    .on("tileerror", () => ++errors === TILE_ERRORS && onTrouble());
}
