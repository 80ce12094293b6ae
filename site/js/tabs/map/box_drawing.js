/** Drawing a box on the map, with a mouse, a pen or a finger. */

import * as L from "../../../vendor/leaflet@1.9.4/leaflet.js";
import { boxBetween } from "./box.js";

const STYLE = { className: "drawn", interactive: false, weight: 2, dashArray: "5 4" };

export class BoxDrawing {
  #map;
  #onEnd;
  #onBox = null; // while a box can be drawn
  #corner = null; // the first corner, while one is being drawn
  #rectangle = null;
  #listeners = null; // removes the listeners of a drawing

  /**
   * @param {L.Map} map
   * @param {{onEnd: () => void}} on  the drawing has ended, with a box or without
   */
  constructor(map, { onEnd }) {
    [this.#map, this.#onEnd] = [map, onEnd];
  }

  /** Whether a box can be drawn now. */
  get isOn() {
    return this.#onBox !== null;
  }

  /**
   * Let a box be drawn.
   *
   * @param {(box: import("./box.js").Box) => void} onBox
   */
  start(onBox) {
    if (this.isOn) this.stop();
    this.#onBox = onBox;
    this.#map.dragging.disable();
    this.#map.boxZoom.disable();
    const container = this.#map.getContainer();
    container.classList.add("drawing");
    this.#listeners = new AbortController();
    const { signal } = this.#listeners;
    const options = { capture: true, signal };
    container.addEventListener("pointerdown", (event) => this.#onDown(event), options);
    container.addEventListener("pointermove", (event) => this.#onMove(event), options);
    container.addEventListener("pointerup", (event) => this.#onUp(event), options);
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.stop(), {
      signal,
    });
  }

  /** End the drawing, without a box. */
  stop() {
    if (!this.isOn) return;
    this.#listeners.abort();
    this.#rectangle?.remove();
    this.#onBox = this.#corner = this.#rectangle = this.#listeners = null;
    this.#map.dragging.enable();
    this.#map.boxZoom.enable();
    this.#map.getContainer().classList.remove("drawing");
    this.#onEnd();
  }

  #onDown(event) {
    if (event.button || event.target.closest(".leaflet-control")) return;
    event.preventDefault();
    event.stopPropagation();
    this.#map.getContainer().setPointerCapture(event.pointerId);
    this.#corner = this.#map.mouseEventToLatLng(event);
    this.#rectangle = L.rectangle(L.latLngBounds(this.#corner, this.#corner), STYLE).addTo(
      this.#map,
    );
  }

  #onMove(event) {
    if (!this.#corner) return;
    event.stopPropagation();
    const corner = this.#map.mouseEventToLatLng(event);
    this.#rectangle.setBounds(L.latLngBounds(this.#corner, corner));
  }

  #onUp(event) {
    if (!this.#corner) return;
    event.stopPropagation();
    const box = boxBetween(this.#corner, this.#map.mouseEventToLatLng(event));
    const onBox = this.#onBox;
    this.stop();
    if (box.north > box.south && box.west !== box.east) onBox(box);
  }
}
