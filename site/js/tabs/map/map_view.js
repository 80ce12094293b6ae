/** The map: Leaflet is known in this file and those of its layers, and nowhere else. */

import * as L from "../../../vendor/leaflet@1.9.4/leaflet.js";
import { make } from "../../lib/dom.js";
import { addGraticule, addLand, rasterLayer } from "./basemap.js";
import { boxDrawing } from "./box_drawing.js";
import { StationLayer } from "./station_layer.js";
import { colorsOf, drawLegend, STATES } from "./symbols.js";

/**
 * @param {HTMLElement} parent  in the page already
 * @param {Object[]} basemaps   of config.json
 * @param {{onStation: (station: Object) => void, onHover: (station: Object|null) => void,
 *     onDrawEnd: () => void, onTrouble: (text: string) => void}} on
 */
export function openChart(parent, basemaps, on) {
  const container = make("div", {
    className: "chart",
    role: "application",
    ariaLabel:
      "Map of the stations found. Arrow keys move it, plus and minus zoom. The table below lists the same stations.",
  });
  parent.append(container);
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
  const legend = makeLegend();
  container.append(legend);
  drawLegend(legend);
  const parts = [addLand(map), addGraticule(map)];
  const stations = new StationLayer(colorsOf(legend)).addTo(map);
  stations.on("station", ({ station }) => on.onStation(station));
  stations.on("hover", ({ station }) => on.onHover(station));
  const drawing = boxDrawing(map, { onEnd: on.onDrawEnd });
  if (basemaps.length) container.append(layerChoice(map, basemaps, on.onTrouble));
  let [area, stateOf] = [null, () => "found"];

  function restyle() {
    drawLegend(legend);
    parts.forEach((part) => part.restyle());
    stations.setStates(stateOf, colorsOf(legend));
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
  new ResizeObserver(() => map.invalidateSize({ animate: false })).observe(container);

  return {
    element: container,
    drawing,
    restyle,
    setStations: (all) => stations.setStations(all),
    /** Give every station its symbol: a function of the station. */
    setStates(of) {
      stateOf = of;
      stations.setStates(of);
    },
    setHovered: (code) => stations.setHovered(code),
    /** Move the map so that all of these are in view. */
    fit(all) {
      if (!all.length) return;
      map.fitBounds(boundsOf(all), { padding: [40, 40], maxZoom: 10, animate: false });
    },
    /** Show the area that is asked for, or none. */
    setArea(box) {
      area?.remove();
      area =
        box &&
        L.rectangle(
          [
            [box.south, box.west],
            [box.north, box.east < box.west ? box.east + 360 : box.east],
          ],
          { interactive: false, weight: 1.5, fillOpacity: 0.06, className: "area" },
        ).addTo(map);
    },
    /** Open a box with facts at a station; gives a way to close it. */
    popup(station, content, onClose) {
      const popup = L.popup({ maxWidth: 380, minWidth: 260, autoPanPadding: [20, 20] })
        .setLatLng(nearest(map, station))
        .setContent(content)
        .openOn(map);
      popup.on("remove", onClose);
      return () => popup.close();
    },
  };
}

/** The copy of a station that is nearest to the middle of the view. */
function nearest(map, { latitude, longitude }) {
  const turns = Math.round((map.getCenter().lng - longitude) / 360);
  return L.latLng(latitude, longitude + 360 * turns);
}

/** Bounds of stations, the short way round the world. */
function boundsOf(all) {
  const plain = L.latLngBounds(all.map((s) => [s.latitude, s.longitude]));
  const turned = L.latLngBounds(
    all.map((s) => [s.latitude, s.longitude < 0 ? s.longitude + 360 : s.longitude]),
  );
  const width = (bounds) => bounds.getEast() - bounds.getWest();
  return width(turned) < width(plain) ? turned : plain;
}

function makeLegend() {
  const items = Object.entries(STATES).map(([state, words]) =>
    make("li", { "data-state": state }, make("canvas", { className: `symbol-${state}` }), words),
  );
  return make("ul", { className: "legend", ariaLabel: "Symbols" }, ...items);
}

/** A choice of raster layers; the bundled land is always there. */
function layerChoice(map, basemaps, onTrouble) {
  let shown = null;
  const select = make(
    "select",
    { ariaLabel: "Background of the map" },
    make("option", { value: "" }, "Land"),
    ...basemaps.map((one, k) => make("option", { value: String(k) }, one.title)),
  );
  function choose() {
    shown?.remove();
    const basemap = basemaps[select.value];
    shown =
      basemap &&
      rasterLayer(basemap, () => {
        select.value = "";
        choose();
        onTrouble(`${basemap.title} is unavailable; the map shows land only.`);
      }).addTo(map);
  }
  select.addEventListener("change", choose);
  const box = make("div", { className: "layers" }, select);
  L.DomEvent.disableClickPropagation(box);
  return box;
}
