/** The map. Only this module and those of its layers use Leaflet. */

import * as L from "../../../vendor/leaflet@1.9.4/leaflet.js";
import { make } from "../../lib/dom.js";
import { addGraticule, addLand, rasterLayer } from "./basemap.js";
import { BoxDrawing } from "./box_drawing.js";
import { StationLayer } from "./station_layer.js";
import { colorsOf, drawLegend, STATES } from "./symbols.js";

const AREA = { interactive: false, weight: 1.5, fillOpacity: 0.06, className: "area" };
const LABEL =
  "Map of the stations found. Arrow keys move it, plus and minus zoom. The table below lists the same stations.";

export class MapView {
  #map;
  #stations;
  #area = null;
  #stateOf = () => "found";

  /**
   * @param {HTMLElement} parent  in the page already
   * @param {Object[]} basemaps   of config.json
   * @param {{onStation: (station: Object) => void, onHover: (station: Object|null) => void,
   *     onDrawEnd: () => void, onTrouble: (text: string) => void}} on
   */
  constructor(parent, basemaps, on) {
    this.element = make("div", { className: "chart", role: "application", ariaLabel: LABEL });
    parent.append(this.element);
    this.#map = openMap(this.element);
    this.legend = makeLegend();
    this.element.append(this.legend);
    drawLegend(this.legend);
    this.layers = [addLand(this.#map), addGraticule(this.#map)];
    this.#stations = new StationLayer(colorsOf(this.legend)).addTo(this.#map);
    this.#stations.on("station", ({ station }) => on.onStation(station));
    this.#stations.on("hover", ({ station }) => on.onHover(station));
    this.drawing = new BoxDrawing(this.#map, { onEnd: on.onDrawEnd });
    if (basemaps.length)
      this.element.append(new BasemapChoice(this.#map, basemaps, on.onTrouble).element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.restyle());
    const resized = () => this.#map.invalidateSize({ animate: false });
    new ResizeObserver(resized).observe(this.element);
  }

  /** Apply the current colours of the page. */
  restyle() {
    drawLegend(this.legend);
    this.layers.forEach((layer) => layer.restyle());
    this.#stations.setStates(this.#stateOf, colorsOf(this.legend));
  }

  setStations(stations) {
    this.#stations.setStations(stations);
  }

  /** Set the symbol of every station: a function of the station. */
  setStates(stateOf) {
    this.#stateOf = stateOf;
    this.#stations.setStates(stateOf);
  }

  /** Mark a station; null marks none. */
  setHovered(code) {
    this.#stations.setHovered(code);
  }

  /** Move the map so that all of these are in view. */
  fit(stations) {
    if (!stations.length) return;
    const options = { padding: [40, 40], maxZoom: 10, animate: false };
    this.#map.fitBounds(boundsOf(stations), options);
  }

  /** Show the area of the query; null shows none. */
  setArea(box) {
    this.#area?.remove();
    this.#area = box && L.rectangle(cornersOf(box), AREA).addTo(this.#map);
  }

  /** Open a popup at a station; returns a function that closes it. */
  popup(station, content, onClose) {
    const popup = L.popup({ maxWidth: 380, minWidth: 260, autoPanPadding: [20, 20] })
      .setLatLng(nearest(this.#map, station))
      .setContent(content)
      .openOn(this.#map);
    popup.on("remove", onClose);
    return () => popup.close();
  }
}

function openMap(container) {
  const map = L.map(container, {
    preferCanvas: true,
    worldCopyJump: true,
    minZoom: 1,
    maxZoom: 16,
    zoomSnap: 0.5,
    maxBounds: [
      [-89, -540],
      [89, 540],
    ],
    fadeAnimation: false,
    zoomAnimation: !matchMedia("(prefers-reduced-motion: reduce)").matches,
  });
  map.attributionControl.setPrefix(false).addAttribution("Land: Natural Earth");
  map.setView([25, -30], 2);
  L.control.scale({ imperial: false, position: "bottomright" }).addTo(map);
  return map;
}

/** The corners of a box for Leaflet, in which longitudes go on beyond 180 degrees. */
function cornersOf({ south, north, west, east }) {
  return [
    [south, west],
    [north, east < west ? east + 360 : east],
  ];
}

/** The copy of a station that is nearest to the middle of the view. */
function nearest(map, { latitude, longitude }) {
  const turns = Math.round((map.getCenter().lng - longitude) / 360);
  return L.latLng(latitude, longitude + 360 * turns);
}

/** Bounds of stations, the short way round the world. */
function boundsOf(all) {
  const plain = L.latLngBounds(all.map((s) => [s.latitude, s.longitude]));
  const shifted = L.latLngBounds(
    all.map((s) => [s.latitude, s.longitude < 0 ? s.longitude + 360 : s.longitude]),
  );
  const width = (bounds) => bounds.getEast() - bounds.getWest();
  return width(shifted) < width(plain) ? shifted : plain;
}

function makeLegend() {
  const items = Object.entries(STATES).map(([state, text]) =>
    make("li", { "data-state": state }, make("canvas", { className: `symbol-${state}` }), text),
  );
  return make("ul", { className: "legend", ariaLabel: "Symbols" }, ...items);
}

/** The choice of the background: raster layers, or land only. */
class BasemapChoice {
  #map;
  #basemaps;
  #onTrouble;
  #shown = null;

  constructor(map, basemaps, onTrouble) {
    [this.#map, this.#basemaps, this.#onTrouble] = [map, basemaps, onTrouble];
    this.select = make(
      "select",
      { ariaLabel: "Background of the map", onchange: () => this.#show() },
      make("option", { value: "" }, "Land"),
      ...basemaps.map(({ title }, k) => make("option", { value: String(k) }, title)),
    );
    this.element = make("div", { className: "layers" }, this.select);
    L.DomEvent.disableClickPropagation(this.element);
  }

  #show() {
    this.#shown?.remove();
    const basemap = this.#basemaps[this.select.value];
    this.#shown = basemap && rasterLayer(basemap, () => this.#showLand(basemap)).addTo(this.#map);
  }

  #showLand({ title }) {
    this.select.value = "";
    this.#show();
    this.#onTrouble(`${title} is unavailable; the map shows land only.`);
  }
}
