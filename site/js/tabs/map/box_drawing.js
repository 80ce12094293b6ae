/** Drawing a box on the map, with a mouse, a pen or a finger. */

import * as L from "../../../vendor/leaflet@1.9.4/leaflet.js";
import { boxBetween } from "./box.js";

/**
 * @param {L.Map} map
 * @param {{onEnd: () => void}} on  the drawing is over, with a box or without
 * @returns {{start: (done: (box: import("./box.js").Box) => void) => void, stop: () => void,
 *     isOn: boolean}}
 */
export function boxDrawing(map, { onEnd }) {
  const container = map.getContainer();
  let done = null; // while a box can be drawn
  let from = null; // while one is being drawn
  let shown = null;

  const placeOf = (event) => map.mouseEventToLatLng(event);

  function down(event) {
    if (event.button || event.target.closest(".leaflet-control")) return;
    event.preventDefault();
    event.stopPropagation();
    container.setPointerCapture(event.pointerId);
    from = placeOf(event);
    shown = L.rectangle(L.latLngBounds(from, from), {
      className: "drawn",
      interactive: false,
      weight: 2,
      dashArray: "5 4",
    }).addTo(map);
  }

  function move(event) {
    if (!from) return;
    event.stopPropagation();
    shown.setBounds(L.latLngBounds(from, placeOf(event)));
  }

  function up(event) {
    if (!from) return;
    event.stopPropagation();
    const box = boxBetween(from, placeOf(event));
    const give = done;
    stop();
    if (box.north > box.south && box.west !== box.east) give(box);
  }

  function key(event) {
    if (event.key === "Escape") stop();
  }

  function start(give) {
    if (done) stop();
    done = give;
    map.dragging.disable();
    map.boxZoom.disable();
    container.classList.add("drawing");
    container.addEventListener("pointerdown", down, true);
    container.addEventListener("pointermove", move, true);
    container.addEventListener("pointerup", up, true);
    document.addEventListener("keydown", key);
  }

  function stop() {
    if (!done) return;
    done = from = null;
    shown?.remove();
    shown = null;
    map.dragging.enable();
    map.boxZoom.enable();
    container.classList.remove("drawing");
    container.removeEventListener("pointerdown", down, true);
    container.removeEventListener("pointermove", move, true);
    container.removeEventListener("pointerup", up, true);
    document.removeEventListener("keydown", key);
    onEnd();
  }

  return {
    start,
    stop,
    get isOn() {
      return done !== null;
    },
  };
}
