/** Correlogram of one pair: lag against time, window after window, below the stack. */

import { bottomAxis, leftAxis, line, NARROW, Plot, putImage, rgb } from "./canvas.js";
import { COLOURS, limitOf, pixel, rasterise, timeGrid } from "./raster.js";
import { scaleOf, timeTicks, valueText } from "./scale.js";
import { lagColumns, largest } from "./traces.js";

const [LEFT, RIGHT, TOP, BOTTOM, HEIGHT] = [128, 92, 10, 44, 560];
const TRACE = 92; // pixels of the stack on top

/**
 * @typedef {Object} Windows
 * @property {Float32Array} values   (window, lag)
 * @property {number} columns        lags, zero in the middle
 * @property {number[]} times        start of each window, s since 1970
 * @property {Float32Array|null} stack
 * @property {number} fs             Hz
 * @property {string} rowName        such as "Window" or "Interval"
 */

export class Correlogram extends Plot {
  #data = null;
  #style = { maxlag: Infinity, clip: 0.99 };
  #layout = null;

  constructor() {
    super({ label: "Correlogram", height: HEIGHT });
  }

  /**
   * @param {Windows} windows
   * @param {{maxlag?: number, clip?: number}} style  `maxlag`: s; `clip`: the share of the values
   *     within the ends of the colour scale
   */
  show(windows, style) {
    [this.#data, this.#style, this.#layout] = [windows, { ...this.#style, ...style }, null];
    this.redraw();
  }

  clear() {
    [this.#data, this.#layout] = [null, null];
    this.redraw();
  }

  paint(context, { width, height, colours }) {
    if (!this.#data) return;
    const { values } = this.#data;
    const right = width < NARROW ? 12 : RIGHT;
    this.#layout = this.#layoutOf(width - right, height - BOTTOM);
    const { x, grid, top, bottom } = this.#layout;
    const hasRows = grid.rows.length > 0;
    const limit = limitOf(values, this.#style.clip);
    if (hasRows) this.#paintWindows(context, limit, colours);
    if (this.#data.stack) this.#paintStack(context, colours);
    if (!hasRows) {
      context.textAlign = "center";
      context.fillStyle = colours.quiet;
      context.fillText("No windows to show.", (x.from + x.to) / 2, (top + bottom) / 2);
    }
    this.#paintAxes(context, colours);
    if (hasRows && right === RIGHT)
      drawBar(context, limit, width - RIGHT + 22, top, bottom, colours);
  }

  /** The places of all parts, for a plot that ends at `right` and `bottom` (pixels). */
  #layoutOf(right, bottom) {
    const { columns, fs, times, stack } = this.#data;
    const [from, to] = lagColumns(columns, fs, this.#style.maxlag);
    const middle = (columns - 1) / 2;
    const x = scaleOf((from - middle - 0.5) / fs, (to - 1 - middle + 0.5) / fs, LEFT, right);
    const top = TOP + (stack ? TRACE : 0);
    const grid = timeGrid(times);
    const end = grid.begin + Math.max(1, grid.rows.length) * grid.step;
    const y = scaleOf(grid.begin, end, top, bottom);
    return { x, y, grid, middle, from, to, top, bottom };
  }

  #paintWindows(context, limit, colours) {
    const { values, columns } = this.#data;
    const { x, y, grid, from, to, top, bottom } = this.#layout;
    const view = {
      from,
      to,
      width: (x.to - x.from) * 2,
      height: (y.to - y.from) * 2,
      limit,
      blank: pixel(...rgb(colours.blank)),
    };
    const image = rasterise(values, columns, grid.rows, view);
    putImage(context, image, LEFT, top, x.to - x.from, bottom - top);
  }

  #paintStack(context, colours) {
    const { stack, fs } = this.#data;
    const { x, from, to, middle } = this.#layout;
    const size = largest(stack, from, to);
    context.fillStyle = colours.quiet;
    context.textAlign = "right";
    context.fillText("Stack", LEFT - 9, TOP + TRACE / 2);
    if (!size) return;
    const half = TRACE / 2 - 8;
    context.save();
    context.beginPath();
    for (let k = from; k < to; k++)
      context.lineTo(x.toPixel((k - middle) / fs), TOP + TRACE / 2 - (half * stack[k]) / size);
    context.strokeStyle = colours.ink;
    context.lineJoin = "round";
    context.stroke();
    context.restore();
  }

  #paintAxes(context, colours) {
    const { x, y, grid, top, bottom } = this.#layout;
    line(context, x.toPixel(0), TOP, x.toPixel(0), top, colours.quiet, [2, 3]);
    context.strokeStyle = colours.quiet;
    context.strokeRect(LEFT + 0.5, top + 0.5, x.to - x.from - 1, bottom - top - 1);
    const found = grid.rows.length ? timeTicks(y.low, y.high, 7) : [];
    const marks = found.map(({ value, text }) => ({ pixel: y.toPixel(value), text }));
    const name = `Start of ${this.#data.rowName.toLowerCase()} (UTC)`;
    leftAxis(context, marks, LEFT, top, bottom, name, colours);
    bottomAxis(context, x, bottom, "Lag (s)", colours);
  }

  read(px, py) {
    if (!this.#layout) return null;
    const { stack, fs } = this.#data;
    const { x, grid, middle, from, to, top, bottom } = this.#layout;
    const column = Math.round(x.toValue(px) * fs) + middle;
    if (px < x.from || px > x.to || column < from || column >= to) return null;
    const lag = lagText((column - middle) / fs);
    const at = x.toPixel((column - middle) / fs);
    if (py < top)
      return stack && py >= TOP
        ? { text: `Stack · lag ${lag} s · ${valueText(stack[column])}`, x: at, y: py }
        : null;
    return py >= bottom || !grid.rows.length ? null : this.#readWindow(py, column, lag, at);
  }

  #readWindow(py, column, lag, at) {
    const { values, columns, times, rowName } = this.#data;
    const { y, grid } = this.#layout;
    const row = Math.min(
      grid.rows.length - 1,
      Math.floor((y.toValue(py) - grid.begin) / grid.step),
    );
    const window = grid.rows[row];
    const time = new Date((window < 0 ? grid.begin + row * grid.step : times[window]) * 1000);
    const value = window < 0 ? NaN : values[window * columns + column];
    return {
      text: `${rowName} ${time.toISOString().slice(0, 19).replace("T", " ")} · lag ${lag} s · ${valueText(value)}`,
      x: at,
      y: y.toPixel(grid.begin + (row + 0.5) * grid.step),
    };
  }

  step(at, dx, dy) {
    if (!this.#layout?.grid.rows.length) return null;
    const { fs } = this.#data;
    const { x, y, grid, middle, from, to } = this.#layout;
    if (!at) return { x: x.toPixel(0), y: y.toPixel(grid.begin + grid.step / 2) };
    const column = within(Math.round(x.toValue(at.x) * fs) + middle + dx, from, to - 1);
    const row = Math.floor((y.toValue(at.y) - grid.begin) / grid.step) + dy;
    return {
      x: x.toPixel((column - middle) / fs),
      y: y.toPixel(grid.begin + (within(row, 0, grid.rows.length - 1) + 0.5) * grid.step),
    };
  }
}

function within(value, least, most) {
  return Math.max(least, Math.min(most, value));
}

/** A lag (s) in four decimals, with its sign. */
export function lagText(lag) {
  const text = String(Number(lag.toFixed(4))).replace("-", "−");
  return lag > 0 ? `+${text}` : text;
}

/** The colour bar with its values. */
export function drawBar(context, limit, x, top, bottom, colours) {
  const [high, wide] = [Math.min(220, bottom - top), 12];
  const y = top + (bottom - top - high) / 2;
  putImage(
    context,
    {
      pixels: Uint32Array.from({ length: 256 }, (_, k) => COLOURS[255 - k]),
      width: 1,
      height: 256,
    },
    x,
    y,
    wide,
    high,
  );
  context.textAlign = "left";
  context.fillStyle = colours.ink;
  for (const [value, at] of [
    [limit, y],
    [0, y + high / 2],
    [-limit, y + high],
  ]) {
    context.fillText(String(Number(value.toPrecision(3))).replaceAll("-", "−"), x + wide + 5, at);
  }
}
