/** A plot on a canvas: its size, its colours, a cursor for mouse and keys, and a picture to keep. */

import { make } from "../lib/dom.js";
import { tickText, ticks } from "./scale.js";

export const NARROW = 560; // pixels; a plot that is narrower leaves out what stands beside it
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * What a plot draws and says.
 *
 * @typedef {Object} Drawer
 * @property {(context: CanvasRenderingContext2D, sheet: {width: number, height: number, colours: Object}) => void} draw
 * @property {(x: number, y: number) => ({text: string, x: number, y: number}|null)} read  what is
 *     under a pixel, in words, and where the cross stands for it; null where there is nothing
 * @property {(at: {x: number, y: number}|null, dx: number, dy: number) => {x: number, y: number}} step
 *     the pixel of the next cell in a direction
 */

/**
 * A figure with a canvas that fills its width.
 *
 * @param {{label: string, height: number, drawer: Drawer}} options  `label`: for who cannot see it
 */
export function openPlot({ label, height, drawer }) {
  const canvas = make("canvas", { className: "sheet", role: "img", tabIndex: 0, ariaLabel: label });
  const over = make("canvas", { className: "over", ariaHidden: "true" });
  const said = make("p", { className: "readout mono", role: "status" });
  const box = make("div", { className: "canvases" }, canvas, over);
  const element = make("figure", { className: "plot" }, box, said);
  let cursor = null;
  let hint = "";

  /** Draw all of it anew. */
  function draw() {
    const width = Math.floor(box.clientWidth);
    if (width < 50) return; // its tab is not shown
    const ratio = Math.min(devicePixelRatio || 1, 2);
    for (const one of [canvas, over]) {
      one.width = width * ratio;
      one.height = height * ratio;
    }
    box.style.height = `${height}px`;
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const colours = coloursOf(canvas);
    context.fillStyle = colours.card;
    context.fillRect(0, 0, width, height);
    context.font = `12px ${getComputedStyle(canvas).fontFamily}`;
    context.textBaseline = "middle";
    drawer.draw(context, { width, height, colours });
    point(cursor);
  }

  function point(at) {
    const found = at ? drawer.read(at.x, at.y) : null;
    cursor = at; // what is there may yet come
    const context = over.getContext("2d");
    const ratio = over.width / (over.clientWidth || 1) || 1;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, over.width, over.height);
    said.textContent = found ? found.text : hint;
    if (!found) return;
    context.strokeStyle = coloursOf(canvas).ink;
    context.setLineDash([4, 3]);
    context.beginPath();
    context.moveTo(found.x, 0);
    context.lineTo(found.x, height);
    context.moveTo(0, found.y);
    context.lineTo(over.clientWidth, found.y);
    context.stroke();
  }

  canvas.addEventListener("pointermove", (event) => point({ x: event.offsetX, y: event.offsetY }));
  canvas.addEventListener("pointerleave", () => point(null));
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return point(null);
    const [dx, dy] = KEYS[event.key] ?? [0, 0];
    if (!dx && !dy) return;
    event.preventDefault();
    const far = event.shiftKey ? 10 : 1;
    point(drawer.step(cursor, dx * far, dy * far));
  });
  let widthBefore = 0;
  new ResizeObserver(([{ contentRect }]) => {
    if (contentRect.width !== widthBefore) draw();
    widthBefore = contentRect.width;
  }).observe(box);
  onColours(draw);

  return {
    element,
    draw,
    /** What stands below it while nothing is pointed at. */
    hint(text) {
      hint = text;
      if (!cursor) said.textContent = text;
    },
    label(text) {
      canvas.ariaLabel = text;
    },
    /** The picture as a PNG, without the cursor. */
    picture: () => new Promise((resolve) => canvas.toBlob(resolve, "image/png")),
  };
}

/** The page's colours, as its style sheets give them to a canvas. */
function coloursOf(canvas) {
  const style = getComputedStyle(canvas);
  return {
    ink: style.color,
    card: style.backgroundColor,
    line: style.borderTopColor,
    quiet: style.caretColor,
    accent: style.columnRuleColor,
    blank: style.textDecorationColor,
  };
}

/** Call `redraw` whenever the page changes its colours, and for paper. */
function onColours(redraw) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  new MutationObserver(redraw).observe(document.documentElement, {
    attributeFilter: ["data-theme"],
  });
  addEventListener("beforeprint", redraw);
  addEventListener("afterprint", redraw);
}

/** A colour of a style sheet as [red, green, blue]. */
export function rgb(colour) {
  const context = new OffscreenCanvas(1, 1).getContext("2d");
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}

/** Put pixels into a rectangle, every cell sharp. */
export function putImage(context, { pixels, width, height }, x, y, wide, high) {
  const small = new OffscreenCanvas(width, height);
  small
    .getContext("2d")
    .putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), width, height), 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, x, y, wide, high);
}

/** The axis below a plot, with as many ticks as fit, and its name. */
export function bottomAxis(context, scale, y, name, colours) {
  const { values, digits } = ticks(
    scale.low,
    scale.high,
    Math.max(2, Math.min(9, (scale.to - scale.from) / 75)),
  );
  context.textAlign = "center";
  for (const value of values) {
    const x = scale.toPixel(value);
    line(context, x, y, x, y + 5, colours.quiet);
    context.fillStyle = colours.ink;
    context.fillText(tickText(value, digits), x, y + 15);
  }
  context.fillStyle = colours.quiet;
  context.fillText(name, (scale.from + scale.to) / 2, y + 33);
}

/** The axis on the left: ticks with texts, and its name along it. */
export function leftAxis(context, found, x, top, bottom, name, colours) {
  context.textAlign = "right";
  for (const { pixel, text } of found) {
    line(context, x - 5, pixel, x, pixel, colours.quiet);
    context.fillStyle = colours.ink;
    context.fillText(text, x - 9, pixel);
  }
  context.save();
  context.translate(12, (top + bottom) / 2);
  context.rotate(-Math.PI / 2);
  context.textAlign = "center";
  context.fillStyle = colours.quiet;
  context.fillText(name, 0, 0);
  context.restore();
}

/** A straight line of one pixel. */
export function line(context, x1, y1, x2, y2, colour, dash = []) {
  context.save();
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.setLineDash(dash);
  context.beginPath();
  context.moveTo(x1, y1);
  context.lineTo(x2, y2);
  context.stroke();
  context.restore();
}
