/** A plot on a canvas: size, colours, a cursor for mouse and keys, and the picture as a file. */

import { make } from "../lib/dom.js";
import { tickText, ticks } from "./scale.js";

export const NARROW = 560; // pixels; a narrower plot has no colour bar or names beside it
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * A figure with a canvas that fills its width. A subclass has three methods:
 *
 * - `paint(context, {width, height, colours})` draws all of it;
 * - `read(x, y)` returns {text, x, y} for a pixel: the values there as text, and the centre of their
 *   cell; null where there are none;
 * - `step(at, dx, dy)` returns the pixel {x, y} of the next cell in a direction; `at` is null at first.
 */
export class Plot {
  #cursor = null;
  #hint = "";
  #width = 0; // of the figure when it was last drawn

  /** @param {{label: string, height: number}} options  `label`: text for screen readers */
  constructor({ label, height }) {
    this.height = height;
    this.canvas = make("canvas", {
      className: "sheet",
      role: "img",
      tabIndex: 0,
      ariaLabel: label,
    });
    this.overlay = make("canvas", { className: "over", ariaHidden: "true" });
    this.readout = make("p", { className: "readout mono", role: "status" });
    this.box = make("div", { className: "canvases" }, this.canvas, this.overlay);
    this.element = make("figure", { className: "plot" }, this.box, this.readout);
    this.#listen();
  }

  #listen() {
    const { canvas } = this;
    canvas.addEventListener("pointermove", (event) =>
      this.#point({ x: event.offsetX, y: event.offsetY }),
    );
    canvas.addEventListener("pointerleave", () => this.#point(null));
    canvas.addEventListener("keydown", (event) => this.#onKey(event));
    new ResizeObserver(([{ contentRect }]) => {
      if (contentRect.width !== this.#width) this.redraw();
      this.#width = contentRect.width;
    }).observe(this.box);
    onColours(() => this.redraw());
  }

  #onKey(event) {
    if (event.key === "Escape") {
      this.#point(null);
      return;
    }
    const [dx, dy] = KEYS[event.key] ?? [0, 0];
    if (!dx && !dy) return;
    event.preventDefault();
    const far = event.shiftKey ? 10 : 1;
    this.#point(this.step(this.#cursor, dx * far, dy * far));
  }

  /** Draw all of it again. */
  redraw() {
    const { canvas, overlay, height } = this;
    const width = Math.floor(this.box.clientWidth);
    if (width < 50) return; // its tab is not shown
    const ratio = Math.min(devicePixelRatio || 1, 2);
    for (const one of [canvas, overlay]) {
      one.width = width * ratio;
      one.height = height * ratio;
    }
    this.box.style.height = `${height}px`;
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const colours = coloursOf(canvas);
    context.fillStyle = colours.card;
    context.fillRect(0, 0, width, height);
    context.font = `12px ${getComputedStyle(canvas).fontFamily}`;
    context.textBaseline = "middle";
    this.paint(context, { width, height, colours });
    this.#point(this.#cursor);
  }

  #point(at) {
    const found = at ? this.read(at.x, at.y) : null;
    this.#cursor = at; // kept without values too: they may be loaded later
    const { overlay } = this;
    const context = overlay.getContext("2d");
    const ratio = overlay.width / (overlay.clientWidth || 1) || 1;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, overlay.width, overlay.height);
    this.readout.textContent = found ? found.text : this.#hint;
    if (!found) return;
    context.strokeStyle = coloursOf(this.canvas).ink;
    context.setLineDash([4, 3]);
    context.beginPath();
    context.moveTo(found.x, 0);
    context.lineTo(found.x, this.height);
    context.moveTo(0, found.y);
    context.lineTo(overlay.clientWidth, found.y);
    context.stroke();
  }

  /** Set the text below the plot while the cursor is not on it. */
  setHint(text) {
    this.#hint = text;
    if (!this.#cursor) this.readout.textContent = text;
  }

  /** Set the text for screen readers. */
  setLabel(text) {
    this.canvas.ariaLabel = text;
  }

  /** The picture as a PNG, without the cursor. */
  picture() {
    return new Promise((resolve) => this.canvas.toBlob(resolve, "image/png"));
  }
}

/** The colours of the page, from its style sheets. */
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

/** Call `redraw` whenever the colours of the page change, and for printing. */
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

/** Draw pixels into a rectangle, without interpolation. */
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
