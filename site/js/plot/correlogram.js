/** One pair, window after window: lag against time, below its stack. */

import { bottomAxis, leftAxis, line, NARROW, openPlot, putImage, rgb } from "./canvas.js";
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
 * @property {string} what           such as "Window" or "Interval"
 */

/** A figure; `show(windows, {maxlag, clip})` draws it, `clip` being a share of the values. */
export function openCorrelogram() {
  let data = null;
  let view = { maxlag: Infinity, clip: 0.99 };
  let place = null;

  function draw(context, { width, height, colours }) {
    if (!data) return;
    const { values, columns, fs } = data;
    const [from, to] = lagColumns(columns, fs, view.maxlag);
    const middle = (columns - 1) / 2;
    const right = width < NARROW ? 12 : RIGHT;
    const x = scaleOf(
      (from - middle - 0.5) / fs,
      (to - 1 - middle + 0.5) / fs,
      LEFT,
      width - right,
    );
    const top = TOP + (data.stack ? TRACE : 0);
    const bottom = height - BOTTOM;
    const grid = timeGrid(data.times);
    const y = scaleOf(
      grid.begin,
      grid.begin + Math.max(1, grid.rows.length) * grid.step,
      top,
      bottom,
    );
    const limit = limitOf(values, view.clip);
    const sizes = {
      from,
      to,
      width: (x.to - x.from) * 2,
      height: (y.to - y.from) * 2,
      limit,
      blank: pixel(...rgb(colours.blank)),
    };
    if (grid.rows.length)
      putImage(
        context,
        rasterise(values, columns, grid.rows, sizes),
        LEFT,
        top,
        x.to - x.from,
        bottom - top,
      );
    place = { x, y, grid, middle, from, to, top, bottom };
    if (data.stack) drawStack(context, colours);
    if (!grid.rows.length) {
      context.textAlign = "center";
      context.fillStyle = colours.quiet;
      context.fillText("No windows to show.", (x.from + x.to) / 2, (top + bottom) / 2);
    }
    line(context, x.toPixel(0), TOP, x.toPixel(0), top, colours.quiet, [2, 3]);
    context.strokeStyle = colours.quiet;
    context.strokeRect(LEFT + 0.5, top + 0.5, x.to - x.from - 1, bottom - top - 1);
    const found = !grid.rows.length
      ? []
      : timeTicks(y.low, y.high, 7).map(({ value, text }) => ({ pixel: y.toPixel(value), text }));
    leftAxis(
      context,
      found,
      LEFT,
      top,
      bottom,
      `Start of ${data.what.toLowerCase()} (UTC)`,
      colours,
    );
    bottomAxis(context, x, bottom, "Lag (s)", colours);
    if (grid.rows.length && right === RIGHT)
      drawBar(context, limit, width - RIGHT + 22, top, bottom, colours);
  }

  function drawStack(context, colours) {
    const { x, from, to, middle } = place;
    const size = largest(data.stack, from, to);
    context.fillStyle = colours.quiet;
    context.textAlign = "right";
    context.fillText("Stack", LEFT - 9, TOP + TRACE / 2);
    if (!size) return;
    const half = TRACE / 2 - 8;
    context.save();
    context.beginPath();
    for (let k = from; k < to; k++)
      context.lineTo(
        x.toPixel((k - middle) / data.fs),
        TOP + TRACE / 2 - (half * data.stack[k]) / size,
      );
    context.strokeStyle = colours.ink;
    context.lineJoin = "round";
    context.stroke();
    context.restore();
  }

  function read(px, py) {
    if (!place) return null;
    const { x, y, grid, middle, from, to, top, bottom } = place;
    const column = Math.round(x.toValue(px) * data.fs) + middle;
    if (px < x.from || px > x.to || column < from || column >= to) return null;
    const lag = lagText((column - middle) / data.fs);
    const at = x.toPixel((column - middle) / data.fs);
    if (py < top)
      return data.stack && py >= TOP
        ? { text: `Stack · lag ${lag} s · ${valueText(data.stack[column])}`, x: at, y: py }
        : null;
    if (py >= bottom || !grid.rows.length) return null;
    const row = Math.min(
      grid.rows.length - 1,
      Math.floor((y.toValue(py) - grid.begin) / grid.step),
    );
    const window = grid.rows[row];
    const time = new Date((window < 0 ? grid.begin + row * grid.step : data.times[window]) * 1000);
    const value = window < 0 ? NaN : data.values[window * data.columns + column];
    return {
      text: `${data.what} ${time.toISOString().slice(0, 19).replace("T", " ")} · lag ${lag} s · ${valueText(value)}`,
      x: at,
      y: y.toPixel(grid.begin + (row + 0.5) * grid.step),
    };
  }

  function step(at, dx, dy) {
    if (!place?.grid.rows.length) return null;
    const { x, y, grid, middle, from, to } = place;
    if (!at) return { x: x.toPixel(0), y: y.toPixel(grid.begin + grid.step / 2) };
    const column = Math.max(
      from,
      Math.min(to - 1, Math.round(x.toValue(at.x) * data.fs) + middle + dx),
    );
    const row = Math.max(
      0,
      Math.min(grid.rows.length - 1, Math.floor((y.toValue(at.y) - grid.begin) / grid.step) + dy),
    );
    return {
      x: x.toPixel((column - middle) / data.fs),
      y: y.toPixel(grid.begin + (row + 0.5) * grid.step),
    };
  }

  const plot = openPlot({ label: "Correlogram", height: HEIGHT, drawer: { draw, read, step } });
  return {
    ...plot,
    element: plot.element,
    show(windows, options) {
      [data, view, place] = [windows, { ...view, ...options }, null];
      plot.draw();
    },
    clear() {
      [data, place] = [null, null];
      plot.draw();
    },
  };
}

/** A lag to the millisecond, with its sign. */
export function lagText(lag) {
  const text = String(Number(lag.toFixed(4))).replace("-", "−");
  return lag > 0 ? `+${text}` : text;
}

/** The colours and what they mean, on the right. */
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
