/** Traces by distance: wiggles for a few, an image for many, with lines of constant velocity. */

import { bottomAxis, leftAxis, line, NARROW, Plot, putImage, rgb } from "./canvas.js";
import { drawBar, lagText } from "./correlogram.js";
import { pixel, rasterise } from "./raster.js";
import { scaleOf, tickText, ticks, valueText } from "./scale.js";
import { distanceLines, lagColumns, largest, MOST_WIGGLES } from "./traces.js";

const [LEFT, RIGHT, TOP, BOTTOM, HEIGHT] = [64, 130, 12, 44, 620];
const SPEEDS = [
  [2, []],
  [3, [8, 4]],
  [4, [2, 3]],
]; // km/s and how the line is drawn

/**
 * @typedef {Object} Section
 * @property {{trace: Float32Array, distance: number, name: string}[]} traces  by distance (km)
 * @property {number} fs  Hz
 */

export class RecordSection extends Plot {
  #data = null;
  #style = { maxlag: Infinity, gain: 1, speeds: true };
  #layout = null;

  constructor() {
    super({ label: "Record section", height: HEIGHT });
  }

  /**
   * @param {Section} section
   * @param {{maxlag?: number, gain?: number, speeds?: boolean}} style  `maxlag`: s; `gain`: factor
   *     of the amplitude; `speeds`: whether lines of constant velocity are drawn
   */
  show(section, style) {
    [this.#data, this.#style, this.#layout] = [section, { ...this.#style, ...style }, null];
    this.redraw();
  }

  clear() {
    [this.#data, this.#layout] = [null, null];
    this.redraw();
  }

  paint(context, { width, height, colours }) {
    if (!this.#data) return;
    const right = width < NARROW ? 12 : RIGHT;
    this.#layout = this.#layoutOf(width - right, height - BOTTOM);
    const { x, traces, bottom, isImage } = this.#layout;
    this.#paintTraces(context, colours);
    this.#paintAxes(context, colours);
    if (right === RIGHT && isImage) drawBar(context, 1, width - RIGHT + 22, TOP, bottom, colours);
    else if (right === RIGHT) this.#paintNames(context, width - RIGHT + 8, colours);
    if (traces.length) return;
    context.textAlign = "center";
    context.fillStyle = colours.quiet;
    context.fillText(
      "Nothing to show: no trace has both data and a distance.",
      (x.from + x.to) / 2,
      (TOP + bottom) / 2,
    );
  }

  /** The places of all parts, for a plot that ends at `right` and `bottom` (pixels). */
  #layoutOf(right, bottom) {
    const { fs } = this.#data;
    const columns = this.#data.traces[0]?.trace.length ?? 3;
    const [from, to] = lagColumns(columns, fs, this.#style.maxlag);
    const middle = (columns - 1) / 2;
    const x = scaleOf((from - middle - 0.5) / fs, (to - middle - 0.5) / fs, LEFT, right);
    const traces = this.#data.traces.filter(
      ({ trace, distance }) => Number.isFinite(distance) && largest(trace, from, to) > 0,
    );
    const isImage = traces.length > MOST_WIGGLES;
    const { low, high, margin } = distanceRange(traces, isImage);
    const isMetres = traces.length > 0 && Math.max(...traces.map((one) => one.distance)) < 1;
    return {
      x,
      y: scaleOf(low, high, bottom, TOP), // distance grows upwards, as in the pipeline's images
      traces,
      from,
      to,
      middle,
      bottom,
      margin,
      isImage,
      lines: null,
      unit: isMetres ? ["m", 1000] : ["km", 1],
    };
  }

  #paintTraces(context, colours) {
    const { x, traces, bottom, isImage } = this.#layout;
    context.save();
    context.beginPath();
    context.rect(LEFT, TOP, x.to - x.from, bottom - TOP);
    context.clip();
    if (isImage) this.#paintImage(context, colours);
    else this.#paintWiggles(context, colours);
    if (this.#style.speeds && traces.length) this.#paintSpeeds(context, colours);
    context.restore();
  }

  #paintAxes(context, colours) {
    const { x, y, traces, bottom } = this.#layout;
    const [unit, km] = this.#layout.unit;
    context.strokeStyle = colours.quiet;
    context.strokeRect(LEFT + 0.5, TOP + 0.5, x.to - x.from - 1, bottom - TOP - 1);
    const { values, digits } = ticks(y.low * km, y.high * km, 8);
    const found = values.map((value) => ({
      pixel: y.toPixel(value / km),
      text: tickText(value, digits),
    }));
    const marks = traces.length ? found : [];
    leftAxis(context, marks, LEFT, TOP, bottom, `Distance (${unit})`, colours);
    bottomAxis(context, x, bottom, "Lag (s)", colours);
  }

  #paintWiggles(context, colours) {
    const { y, traces, margin } = this.#layout;
    const height = this.#style.gain * 1.6 * Math.abs(y.toPixel(margin / 1.9) - y.toPixel(0));
    for (const one of traces) this.#paintWiggle(context, one, height, colours);
  }

  /** One trace, filled where it is positive; `height`: pixels of its maximum. */
  #paintWiggle(context, { trace, distance }, height, colours) {
    const { x, y, from, to, middle } = this.#layout;
    const size = largest(trace, from, to);
    const base = y.toPixel(distance);
    const curve = (least) => {
      for (let k = from; k < to; k++)
        context.lineTo(
          x.toPixel((k - middle) / this.#data.fs),
          base - height * Math.max(least, trace[k] / size),
        );
    };
    context.beginPath();
    context.moveTo(x.from, base);
    curve(0);
    context.lineTo(x.to, base);
    context.globalAlpha = 0.5;
    context.fillStyle = colours.accent;
    context.fill();
    context.globalAlpha = 1;
    context.beginPath();
    curve(-Infinity);
    context.strokeStyle = colours.ink;
    context.lineWidth = 0.7;
    context.stroke();
  }

  #paintImage(context, colours) {
    const { x, y, traces, from, to, bottom } = this.#layout;
    const lines = distanceLines(
      traces,
      Math.min(300, Math.max(MOST_WIGGLES, Math.round(traces.length / 3))),
    );
    this.#layout.lines = lines;
    const view = {
      from,
      to,
      width: (x.to - x.from) * 2,
      height: (bottom - TOP) * 2,
      limit: 1 / this.#style.gain,
      blank: pixel(...rgb(colours.blank)),
    };
    const image = rasterise(lines.values, lines.columns, lines.rows, view);
    const top = y.toPixel(lines.high);
    putImage(context, image, LEFT, top, x.to - x.from, bottom - top);
  }

  #paintSpeeds(context, colours) {
    const { x, y, traces, isImage } = this.#layout;
    const furthest = traces.at(-1).distance;
    for (const [speed, dash] of SPEEDS) {
      for (const side of [-1, 1]) {
        const end = x.toPixel((side * furthest) / speed);
        const colour = isImage ? "#000" : colours.ink;
        line(context, x.toPixel(0), y.toPixel(0), end, y.toPixel(furthest), colour, dash);
      }
    }
    this.#paintSpeedLegend(context, colours);
  }

  #paintSpeedLegend(context, colours) {
    const { x, bottom } = this.#layout;
    const [unit, km] = this.#layout.unit;
    const [left, top] = [x.to - 92, bottom - 18 * SPEEDS.length - 8];
    context.textAlign = "left";
    context.fillStyle = colours.card;
    context.globalAlpha = 0.88;
    context.fillRect(left - 8, top - 10, 96, 18 * SPEEDS.length + 12);
    context.globalAlpha = 1;
    SPEEDS.forEach(([speed, dash], k) => {
      line(context, left, top + 18 * k + 4, left + 28, top + 18 * k + 4, colours.ink, dash);
      context.fillStyle = colours.ink;
      context.fillText(`${speed * km} ${unit}/s`, left + 36, top + 18 * k + 4);
    });
  }

  #paintNames(context, x, colours) {
    context.textAlign = "left";
    context.fillStyle = colours.ink;
    let free = Infinity;
    for (const { name, distance } of this.#layout.traces) {
      const y = this.#layout.y.toPixel(distance);
      if (free - y < 13) continue;
      context.fillText(name, x, y, RIGHT - 10);
      free = y;
    }
  }

  read(px, py) {
    if (!this.#layout?.traces.length) return null;
    const { x, y, from, to, middle, bottom, traces, lines } = this.#layout;
    const { fs } = this.#data;
    const column = Math.round(x.toValue(px) * fs) + middle;
    if (px < x.from || px > x.to || py < TOP || py > bottom || column < from || column >= to)
      return null;
    const distance = y.toValue(py);
    const nearest = traces.reduce((a, b) =>
      Math.abs(b.distance - distance) < Math.abs(a.distance - distance) ? b : a,
    );
    const [unit, km] = this.#layout.unit;
    const lag = (column - middle) / fs;
    const far = `${tickText(nearest.distance * km, km === 1 ? 2 : 0)} ${unit}`;
    const suffix = lines ? " · nearest trace" : "";
    return {
      text: `${nearest.name} · ${far} · lag ${lagText(lag)} s · ${valueText(nearest.trace[column])}${suffix}`,
      x: x.toPixel(lag),
      y: y.toPixel(nearest.distance),
    };
  }

  step(at, dx, dy) {
    if (!this.#layout?.traces.length) return null;
    const { x, y, traces, from, to, middle } = this.#layout;
    const { fs } = this.#data;
    if (!at) return { x: x.toPixel(0), y: y.toPixel(traces[0].distance) };
    const column = Math.max(from, Math.min(to - 1, Math.round(x.toValue(at.x) * fs) + middle + dx));
    const offsets = traces.map(({ distance }) => Math.abs(y.toPixel(distance) - at.y));
    const current = offsets.indexOf(Math.min(...offsets));
    const next = traces[Math.max(0, Math.min(traces.length - 1, current - dy))];
    return { x: x.toPixel((column - middle) / fs), y: y.toPixel(next.distance) };
  }
}

/** The range of the distance axis (km), with a margin for the amplitude of the outermost traces. */
function distanceRange(traces, isImage) {
  if (!traces.length) return { low: 0, high: 1, margin: 0 };
  const distances = traces.map(({ distance }) => distance);
  const [nearest, furthest] = [Math.min(...distances), Math.max(...distances)];
  const reach = furthest - nearest || 1;
  const margin = isImage ? 0 : (1.9 * reach) / Math.max(traces.length, 8);
  return { low: nearest - margin, high: furthest + margin, margin };
}
