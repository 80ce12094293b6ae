/** The symbols of stations: they differ by shape, and by colour as well. */

export const STATES = {
  found: "found",
  closed: "no longer recording",
  selected: "selected",
  saved: "saved",
};

/** The path of a symbol around (x, y); r: half its size in px. */
function trace(context, state, x, y, r) {
  if (state === "selected") {
    context.moveTo(x, y - r * 1.15);
    context.lineTo(x + r * 1.15, y);
    context.lineTo(x, y + r * 1.15);
    context.lineTo(x - r * 1.15, y);
    context.closePath();
  } else if (state === "saved") {
    context.moveTo(x + r, y);
    context.arc(x, y, r, 0, 2 * Math.PI);
  } else {
    context.moveTo(x, y - r);
    context.lineTo(x + r, y + r * 0.8);
    context.lineTo(x - r, y + r * 0.8);
    context.closePath();
  }
}

/** Fill and outline the path that was traced. */
function paint(context, state, colors) {
  context.fillStyle = state === "closed" ? colors.ground : colors[state];
  context.strokeStyle = state === "closed" ? colors.closed : colors.ground;
  context.lineWidth = state === "closed" ? 1.6 : 1;
  context.fill();
  context.stroke();
}

/**
 * The colours of the symbols as the theme has them now.
 *
 * @param {HTMLElement} legend  of `makeLegend`, in the page
 */
export function colorsOf(legend) {
  const of = (item, property) => getComputedStyle(item)[property];
  const colors = { ground: of(legend, "backgroundColor") };
  for (const item of legend.querySelectorAll("[data-state]"))
    colors[item.dataset.state] = of(item.firstChild, "color");
  return colors;
}

/**
 * A symbol in the middle of a canvas of its own, at the resolution of the screen.
 *
 * @param {string} state
 * @param {number} r  half its size, px
 * @param {Object<string, string>} colors
 * @param {HTMLCanvasElement} [canvas]  to draw on instead of a new one
 */
export function stampOf(state, r, colors, canvas = document.createElement("canvas")) {
  const size = Math.ceil(r * 2.6) + 2; // px; a diamond and its line reach beyond r
  canvas.width = canvas.height = size * devicePixelRatio;
  const context = canvas.getContext("2d");
  context.scale(devicePixelRatio, devicePixelRatio);
  context.beginPath();
  trace(context, state, size / 2, size / 2, r);
  paint(context, state, colors);
  return canvas;
}

/** Draw the symbols of a legend in the colours of now. */
export function drawLegend(legend) {
  const colors = colorsOf(legend);
  for (const item of legend.querySelectorAll("[data-state]"))
    stampOf(item.dataset.state, 5.5, colors, item.firstChild);
}
