/** The symbols of stations: they differ by shape, and by colour as well. */

export const STATES = {
  found: "found",
  closed: "no longer recording",
  selected: "selected",
  saved: "saved",
};

/** The path of a symbol around (x, y); r: half its size in px. */
export function trace(context, state, x, y, r) {
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
export function paint(context, state, colors) {
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
  for (const item of legend.querySelectorAll("[data-state]")) colors[item.dataset.state] = of(item.firstChild, "color");
  return colors;
}

/** Draw the symbols of a legend in the colours of now. */
export function drawLegend(legend) {
  const colors = colorsOf(legend);
  for (const item of legend.querySelectorAll("[data-state]")) {
    const canvas = item.firstChild;
    const scale = devicePixelRatio;
    Object.assign(canvas, { width: 16 * scale, height: 16 * scale });
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    context.beginPath();
    trace(context, item.dataset.state, 8, 8, 5.5);
    paint(context, item.dataset.state, colors);
  }
}
