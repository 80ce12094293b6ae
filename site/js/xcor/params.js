/** The row of params.csv: what its values mean together, as the worker checks them (params.py). */

import { formatCsv } from "../csv.js";
import { checkRow, defaultOf, formatValue, oneRow, outOf } from "../csvtable.js";
import { general, roundEven } from "../numbers.js";

export const PARAMS = "params.csv";
const SECONDS_PER_DAY = 86400;

// Columns that say something only where another has one of some values.
const GOES_WITH = {
  clip_factor: ["time_norm", ["clip"]],
  clamp: ["time_norm", ["clamp"]],
  mute_factor: ["time_norm", ["mute"]],
  ram_window: ["time_norm", ["ram"]],
  ram_freqmin: ["time_norm", ["ram"]],
  ram_freqmax: ["time_norm", ["ram"]],
  ram_shared: ["time_norm", ["ram"]],
  water_level: ["method", ["coherence", "deconvolution"]],
};

/** Column by which a value is switched on, and its values: ["time_norm", ["ram"]]; else undefined. */
export function goesWith(name) {
  return GOES_WITH[name];
}

/**
 * Texts of the form, by column -> values, or what is wrong with them.
 *
 * @param {Object<string, string>} row  an empty text stands for the default of what is optional
 * @param {Object} limits  limits.json
 * @returns {{params: Object|null, problems: {column: string, value: string, need: string}[]}}
 */
export function checkParams(row, limits) {
  const { values, problems } = checkRow(row, limits.params);
  const wrong = values ? together(values, limits.params) : problems;
  return { params: wrong.length ? null : values, problems: wrong };
}

/**
 * params.csv -> its one row.
 *
 * @returns {{params: Object|null, problems: import("../csvtable.js").Problem[]}}
 */
export function parseParams(text, limits) {
  const { values, line, problems } = oneRow(PARAMS, text, limits.params, limits);
  const wrong = values
    ? together(values, limits.params).map((one) => ({ ...one, file: PARAMS, line }))
    : problems;
  return { params: wrong.length ? null : values, problems: wrong };
}

/** What is wrong with values that are each right by themselves. */
function together(values, section) {
  const outside = [...outOfLimits(values, section)];
  // Rules between values make no sense of a value that is outside its own limits.
  return (outside.length ? outside : [...conflicts(values, section)]).map(
    ([column, value, need]) => ({ column, value, need }),
  );
}

function* outOfLimits(p, section) {
  for (const [name, limit] of Object.entries(section)) {
    if (limit.kind !== "number" || p[name] === null) continue;
    const need = outOf(limit, p[name]);
    if (need) yield [name, general(p[name]), need];
  }
}

/** [column, value, what is needed] of every rule that the values break together. */
function* conflicts(p, section) {
  const nyquist = p.fs / 2;
  if (!(p.freqmin < p.freqmax))
    yield ["freqmax", general(p.freqmax), `Hz is not above freqmin=${general(p.freqmin)} Hz`];
  if (p.freqmax > nyquist) {
    yield [
      "freqmax",
      general(p.freqmax),
      `Hz is above ${general(nyquist)} Hz, the Nyquist frequency of fs=${general(p.fs)} Hz; ` +
        "lower freqmax or raise fs",
    ];
  }
  for (const name of ["cc_len", "cc_step"]) {
    const samples = p[name] * p.fs;
    if (!isClose(samples, roundEven(samples)) || roundEven(samples) < 1) {
      yield [
        name,
        general(p[name]),
        `s is ${general(samples, 9)} samples at fs=${general(p.fs)} Hz; it must be a whole number of them`,
      ];
    }
  }
  if (p.maxlag >= p.cc_len || nLags(p) >= roundEven(p.cc_len * p.fs)) {
    yield ["maxlag", general(p.maxlag), `s is not below cc_len=${general(p.cc_len)} s`];
  }
  if (p.maxlag * p.fs < 0.5)
    yield ["maxlag", general(p.maxlag), `s is less than one sample at fs=${general(p.fs)} Hz`];
  if (p.cc_len * p.freqmin < 1) {
    yield [
      "cc_len",
      general(p.cc_len),
      `s holds less than one period of freqmin=${general(p.freqmin)} Hz; ` +
        `write at least ${general(1 / p.freqmin)} s`,
    ];
  }
  if (p.method === "phase" && p.normalisation === "coefficient") {
    yield [
      "normalisation",
      "coefficient",
      "cannot go with method=phase, which is normalised by itself; write none",
    ];
  }
  if (p.substack && p.substack < p.cc_step) {
    yield [
      "substack",
      general(p.substack),
      `s is shorter than cc_step=${general(p.cc_step)} s, so it averages nothing; write 0`,
    ];
  }
  yield* alone(p, section);
  yield* needs(p);
}

/** Of every value that another one makes meaningless. */
function* alone(p, section) {
  for (const [name, [column, values]] of Object.entries(GOES_WITH)) {
    if (p[name] !== defaultOf(section[name]) && !values.includes(p[column])) {
      yield [name, formatValue(p[name]), `goes with ${column}=${values.join(" or ")} only`];
    }
  }
  const divides = ["coherence", "deconvolution"].includes(p.method);
  for (const name of ["skirt_low", "skirt_high"]) {
    if (p[name] && !p.whiten && !divides) {
      yield [
        name,
        general(p[name]),
        "goes with whiten=true, method=coherence or method=deconvolution only",
      ];
    }
  }
  if (p.whiten && divides) {
    yield [
      "method",
      p.method,
      "divides by a spectrum that whiten=true makes flat; write whiten=false",
    ];
  }
  if (p.method === "deconvolution" && p.normalisation === "coefficient") {
    yield [
      "normalisation",
      "coefficient",
      "undoes the ratio of amplitudes that method=deconvolution is after; write none",
    ];
  }
  if (p.time_norm === "clamp" && p.clamp === null)
    yield ["clamp", "", "is needed by time_norm=clamp; write an amplitude"];
}

/** Of every value that goes with some others only. */
function* needs(p) {
  if (p.drop_dead && p.response === "none")
    yield ["drop_dead", "true", "looks at ground motion; response=none keeps counts"];
  if (p.drop_dead && p.freqmin >= 10)
    yield ["drop_dead", "true", "needs freqmin below 10 Hz, where Peterson's model ends"];
  if (p.time_norm === "ram" && (p.ram_freqmin === null) !== (p.ram_freqmax === null)) {
    yield [
      p.ram_freqmin === null ? "ram_freqmin" : "ram_freqmax",
      "",
      "is needed: a band has two corners",
    ];
  }
  const ends = ["E", "N", "Z"];
  if (p.rotate && !ends.every((a) => ends.every((b) => wantsEnds(p, a, b)))) {
    yield ["rotate", "true", "needs all nine of EE, EN ... ZZ; write components=all"];
  }
  const [low, high] = [p.ram_freqmin || p.freqmin, p.ram_freqmax || p.freqmax];
  if (p.ram_freqmin && p.ram_freqmax && !(low < high && high <= p.fs / 2)) {
    yield [
      "ram_freqmax",
      general(high),
      `Hz is not above ram_freqmin=${general(low)} Hz and <= fs/2`,
    ];
  }
  if (p.skirt_low && p.skirt_low > p.freqmin / 2) {
    yield [
      "skirt_low",
      general(p.skirt_low),
      `Hz is more than half of freqmin=${general(p.freqmin)} Hz, where the pre-filter ends`,
    ];
  }
}

function isClose(a, b) {
  return Math.abs(a - b) <= Math.max(1e-9 * Math.max(Math.abs(a), Math.abs(b)), 1e-6);
}

/** Samples on each side of zero lag. */
export function nLags(p) {
  return roundEven(p.maxlag * p.fs);
}

/** Windows in a day: all that fit from midnight to midnight. */
export function nWindows(p) {
  return Math.floor((SECONDS_PER_DAY - p.cc_len) / p.cc_step + 1e-9) + 1;
}

/** Rows a day in the file: the windows, or the substacks that they fall in. */
export function nKept(p) {
  const windows = nWindows(p);
  return p.substack ? Math.floor(((windows - 1) * p.cc_step) / p.substack + 1e-9) + 1 : windows;
}

/** Whether the last letters of two channels are among the components that are wanted. */
export function wantsEnds(p, first, second) {
  return (
    !p.components.length ||
    p.components.some(
      (pattern) => ["?", first].includes(pattern[0]) && ["?", second].includes(pattern[1]),
    )
  );
}

/** The params.csv that `parseParams` reads back: the six, and what is not the default. */
export function formatParams(params, limits) {
  const names = Object.keys(limits.params).filter((name) => {
    const limit = limits.params[name];
    return limit.required || formatValue(params[name]) !== formatValue(defaultOf(limit));
  });
  return formatCsv([names, names.map((name) => formatValue(params[name]))]);
}
