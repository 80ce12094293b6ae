/** Traces by distance: wiggles for a few, an image for many, with lines of constant speed. */

import { bottomAxis, leftAxis, line, NARROW, openPlot, putImage, rgb } from "./canvas.js";
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

/** A figure; `show(section, {maxlag, gain, speeds})` draws it. */
export function openSection() {
  let data = null;
  let view = { maxlag: Infinity, gain: 1, speeds: true };
  let place = null;

  function draw(context, { width, height, colours }) {
    if (!data) return;
    const columns = data.traces[0]?.trace.length ?? 3;
    const [from, to] = lagColumns(columns, data.fs, view.maxlag);
    const middle = (columns - 1) / 2;
    const right = width < NARROW ? 12 : RIGHT;
    const x = scaleOf(
      (from - middle - 0.5) / data.fs,
      (to - middle - 0.5) / data.fs,
      LEFT,
      width - right,
    );
    const alive = data.traces.filter(
      ({ trace, distance }) => Number.isFinite(distance) && largest(trace, from, to) > 0,
    );
    const bottom = height - BOTTOM;
    const isImage = alive.length > MOST_WIGGLES;
    const far = alive.map(({ distance }) => distance);
    const reach = Math.max(...far) - Math.min(...far) || 1;
    const margin = isImage ? 0 : (1.9 * reach) / Math.max(alive.length, 8);
    const [low, high] = alive.length
      ? [Math.min(...far) - margin, Math.max(...far) + margin]
      : [0, 1];
    const isMetres = alive.length > 0 && Math.max(...far) < 1;
    // Distance grows upwards, as in the images of the pipeline.
    const y = scaleOf(low, high, bottom, TOP);
    place = {
      x,
      y,
      alive,
      from,
      to,
      middle,
      bottom,
      margin,
      isImage,
      lines: null,
      unit: isMetres ? ["m", 1000] : ["km", 1],
    };
    context.save();
    context.beginPath();
    context.rect(LEFT, TOP, x.to - x.from, bottom - TOP);
    context.clip();
    if (isImage) drawImage(context, colours);
    else drawWiggles(context, colours);
    if (view.speeds && alive.length) drawSpeeds(context, colours);
    context.restore();
    context.strokeStyle = colours.quiet;
    context.strokeRect(LEFT + 0.5, TOP + 0.5, x.to - x.from - 1, bottom - TOP - 1);
    const [unit, km] = place.unit;
    const { values, digits } = ticks(low * km, high * km, 8);
    const found = values.map((value) => ({
      pixel: y.toPixel(value / km),
      text: tickText(value, digits),
    }));
    leftAxis(context, alive.length ? found : [], LEFT, TOP, bottom, `Distance (${unit})`, colours);
    bottomAxis(context, x, bottom, "Lag (s)", colours);
    if (right === RIGHT && isImage) drawBar(context, 1, width - RIGHT + 22, TOP, bottom, colours);
    else if (right === RIGHT) drawNames(context, width - RIGHT + 8, colours);
    if (!alive.length) {
      context.textAlign = "center";
      context.fillStyle = colours.quiet;
      context.fillText(
        "Nothing to show: no trace has both data and a distance.",
        (x.from + x.to) / 2,
        (TOP + bottom) / 2,
      );
    }
  }

  function drawWiggles(context, colours) {
    const { x, y, alive, from, to, middle, margin } = place;
    const high = view.gain * 1.6 * Math.abs(y.toPixel(margin / 1.9) - y.toPixel(0));
    for (const { trace, distance } of alive) {
      const size = largest(trace, from, to);
      const base = y.toPixel(distance);
      const curve = (least) => {
        for (let k = from; k < to; k++)
          context.lineTo(
            x.toPixel((k - middle) / data.fs),
            base - high * Math.max(least, trace[k] / size),
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
  }

  function drawImage(context, colours) {
    const { x, y, alive, from, to, bottom } = place;
    const lines = distanceLines(
      alive,
      Math.min(300, Math.max(MOST_WIGGLES, Math.round(alive.length / 3))),
    );
    place.lines = lines;
    const sizes = {
      from,
      to,
      width: (x.to - x.from) * 2,
      height: (bottom - TOP) * 2,
      limit: 1 / view.gain,
      blank: pixel(...rgb(colours.blank)),
    };
    putImage(
      context,
      rasterise(lines.values, lines.columns, lines.rows, sizes),
      LEFT,
      y.toPixel(lines.high),
      x.to - x.from,
      bottom - y.toPixel(lines.high),
    );
  }

  function drawSpeeds(context, colours) {
    const { x, y, unit } = place;
    const shown = place.alive.at(-1).distance;
    context.textAlign = "left";
    SPEEDS.forEach(([speed, dash]) => {
      for (const side of [-1, 1])
        line(
          context,
          x.toPixel(0),
          y.toPixel(0),
          x.toPixel((side * shown) / speed),
          y.toPixel(shown),
          place.isImage ? "#000" : colours.ink,
          dash,
        );
    });
    const [left, top] = [x.to - 92, place.bottom - 18 * SPEEDS.length - 8];
    context.fillStyle = colours.card;
    context.globalAlpha = 0.88;
    context.fillRect(left - 8, top - 10, 96, 18 * SPEEDS.length + 12);
    context.globalAlpha = 1;
    SPEEDS.forEach(([speed, dash], k) => {
      line(context, left, top + 18 * k + 4, left + 28, top + 18 * k + 4, colours.ink, dash);
      context.fillStyle = colours.ink;
      context.fillText(`${speed * unit[1]} ${unit[0]}/s`, left + 36, top + 18 * k + 4);
    });
  }

  function drawNames(context, x, colours) {
    context.textAlign = "left";
    context.fillStyle = colours.ink;
    let free = Infinity;
    for (const { name, distance } of place.alive) {
      const y = place.y.toPixel(distance);
      if (free - y < 13) continue;
      context.fillText(name, x, y, RIGHT - 10);
      free = y;
    }
  }

  function read(px, py) {
    if (!place?.alive.length) return null;
    const { x, y, from, to, middle, bottom, alive, lines } = place;
    const column = Math.round(x.toValue(px) * data.fs) + middle;
    if (px < x.from || px > x.to || py < TOP || py > bottom || column < from || column >= to)
      return null;
    const distance = y.toValue(py);
    const nearest = alive.reduce((a, b) =>
      Math.abs(b.distance - distance) < Math.abs(a.distance - distance) ? b : a,
    );
    const [unit, km] = place.unit;
    const where = `lag ${lagText((column - middle) / data.fs)} s`;
    const far = `${tickText(nearest.distance * km, km === 1 ? 2 : 0)} ${unit}`;
    const beside = lines ? " · nearest trace" : "";
    return {
      text: `${nearest.name} · ${far} · ${where} · ${valueText(nearest.trace[column])}${beside}`,
      x: x.toPixel((column - middle) / data.fs),
      y: y.toPixel(nearest.distance),
    };
  }

  function step(at, dx, dy) {
    if (!place?.alive.length) return null;
    const { x, y, alive, from, to, middle } = place;
    if (!at) return { x: x.toPixel(0), y: y.toPixel(alive[0].distance) };
    const column = Math.max(
      from,
      Math.min(to - 1, Math.round(x.toValue(at.x) * data.fs) + middle + dx),
    );
    const here = alive.reduce(
      (best, { distance }, k) =>
        Math.abs(y.toPixel(distance) - at.y) < Math.abs(y.toPixel(alive[best].distance) - at.y)
          ? k
          : best,
      0,
    );
    const next = alive[Math.max(0, Math.min(alive.length - 1, here - dy))];
    return { x: x.toPixel((column - middle) / data.fs), y: y.toPixel(next.distance) };
  }

  const plot = openPlot({ label: "Record section", height: HEIGHT, drawer: { draw, read, step } });
  return {
    ...plot,
    element: plot.element,
    show(section, options) {
      [data, view, place] = [section, { ...view, ...options }, null];
      plot.draw();
    },
    clear() {
      [data, place] = [null, null];
      plot.draw();
    },
  };
}
