/** Thousands of stations on one canvas. */

import * as L from "../../../vendor/leaflet@1.9.4/leaflet.js";
import { stampOf, STATES } from "./symbols.js";

const REACH = 9; // px from a symbol within which a click means it
const WORLD = 256; // px of the world at zoom 0

/**
 * A Leaflet layer; fires `station` with `{station}` when one is clicked and `hover` with
 * `{station}`, maybe null, when the pointer is above another one.
 */
export const StationLayer = L.Layer.extend({
  initialize(colors) {
    this._colors = colors;
    this._stations = [];
    this._hovered = null;
  },

  onAdd() {
    this._canvas = L.DomUtil.create("canvas", "leaflet-zoom-animated stations");
    this.getPane().append(this._canvas);
    this._draw();
  },

  onRemove() {
    this._canvas.remove();
  },

  getEvents() {
    return {
      move: this._draw,
      resize: this._draw,
      zoomend: this._draw,
      zoomanim: this._zoom,
      click: this._click,
      mousemove: this._over,
    };
  },

  /**
   * Show these stations instead of others.
   *
   * @param {{code: string, latitude: number, longitude: number}[]} stations
   */
  setStations(stations) {
    this._stations = stations.map((station) => {
      const { x, y } = L.CRS.EPSG3857.latLngToPoint(
        L.latLng(station.latitude, station.longitude),
        0,
      );
      return { station, x, y };
    });
    this._draw();
  },

  /** Set the symbol of each station: a function of the station. */
  setStates(stateOf, colors = this._colors) {
    this._stateOf = stateOf;
    this._colors = colors;
    this._draw();
  },

  /** Put a ring around a station, or none. */
  setHovered(code) {
    this._hovered = code;
    this._draw();
  },

  /** Draw once before the next frame, however often it is called. */
  _draw() {
    this._frame ??= requestAnimationFrame(() => {
      this._frame = null;
      if (this._map) this._paint();
    });
  },

  _paint() {
    const size = this._map.getSize();
    const scale = devicePixelRatio;
    const canvas = this._canvas;
    L.DomUtil.setPosition(canvas, this._map.containerPointToLayerPoint([0, 0]));
    Object.assign(canvas, { width: size.x * scale, height: size.y * scale });
    Object.assign(canvas.style, { width: `${size.x}px`, height: `${size.y}px` });
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    const r = this._map.getZoom() < 4 ? 4 : 5.5;
    const byState = Object.fromEntries(Object.keys(STATES).map((state) => [state, []]));
    for (const place of this._places())
      byState[this._stateOf?.(place.station) ?? "found"].push(place);
    for (const [state, places] of Object.entries(byState)) {
      // A stamp for each is many times faster than a path of thousands of corners.
      const stamp = stampOf(state, r, this._colors);
      const half = stamp.width / scale / 2;
      for (const { x, y } of places)
        context.drawImage(stamp, x - half, y - half, half * 2, half * 2);
      for (const { station, x, y } of places)
        if (station.code === this._hovered) ring(context, x, y, r, this._colors);
    }
  },

  /** Stations in view, in px of the container; once for every copy of the world. */
  *_places() {
    const scale = 2 ** this._map.getZoom();
    const size = this._map.getSize();
    const corner = this._map.getPixelBounds().min;
    const world = WORLD * scale;
    const [first, last] = [Math.floor(corner.x / world), Math.floor((corner.x + size.x) / world)];
    for (let copy = first; copy <= last; copy++) {
      for (const { station, x, y } of this._stations) {
        const [px, py] = [x * scale + copy * world - corner.x, y * scale - corner.y];
        if (px > -REACH && py > -REACH && px < size.x + REACH && py < size.y + REACH)
          yield { station, x: px, y: py };
      }
    }
  },

  _at(point) {
    let [nearest, least] = [null, REACH ** 2];
    for (const { station, x, y } of this._places()) {
      const distance = (x - point.x) ** 2 + (y - point.y) ** 2;
      if (distance <= least) [nearest, least] = [station, distance];
    }
    return nearest;
  },

  _click(event) {
    const station = this._at(event.containerPoint);
    if (station) this.fire("station", { station, latlng: event.latlng });
  },

  _over(event) {
    const station = this._at(event.containerPoint);
    if ((station?.code ?? null) === this._hovered) return;
    this._map.getContainer().classList.toggle("over-station", station !== null);
    this.setHovered(station?.code ?? null);
    this.fire("hover", { station });
  },

  _zoom({ zoom, center }) {
    const scale = this._map.getZoomScale(zoom);
    const offset = this._map._latLngBoundsToNewLayerBounds(this._map.getBounds(), zoom, center).min;
    L.DomUtil.setTransform(this._canvas, offset, scale);
  },
});

function ring(context, x, y, r, colors) {
  context.beginPath();
  context.arc(x, y, r * 1.9, 0, 2 * Math.PI);
  context.strokeStyle = colors.selected;
  context.lineWidth = 2.5;
  context.stroke();
}
