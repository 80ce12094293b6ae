/** The row of params.csv and the rules between its values, as in the worker (params.py). */

import { formatCsv } from "../lib/csv.js";
import { checkRow, defaultOf, formatValue, oneRow } from "./csv_table.js";
import { general, roundEven } from "../lib/python_numbers.js";
import { broken, rule } from "./rules.js";

export const PARAMS = "params.csv";

// Columns that have a meaning only with certain values of another.
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
 * Texts of the form, by column -> values, and their errors.
 *
 * @param {Object<string, string>} row  an empty text stands for the default of what is optional
 * @param {Object} limits  limits.json
 * @returns {{params: Object|null, values: Object,
 *     problems: {column: string, value: string, need: string}[]}}  `values`: those that are valid
 *     by themselves; `params`: the same where there are no problems
 */
export function checkParams(row, limits) {
  const { values, problems } = checkRow(row, limits.params);
  const wrong = [...problems, ...broken(rulesOf(limits.params), values)];
  return { params: wrong.length ? null : values, values, problems: wrong };
}

/**
 * params.csv -> its one row.
 *
 * @returns {{params: Object|null, values: Object,
 *     problems: import("./csv_table.js").Problem[]}}  as `checkParams`
 */
export function parseParams(text, limits) {
  const rules = rulesOf(limits.params);
  const { values, problems } = oneRow(PARAMS, text, limits.params, limits, (right) =>
    broken(rules, right),
  );
  return { params: problems.length ? null : values, values, problems };
}

const DIVIDING = ["coherence", "deconvolution"];
const ENDS = ["E", "N", "Z"];

/** Whether a time is a whole number of samples, one or more. */
export function isWhole(seconds, fs) {
  const samples = seconds * fs;
  return isClose(samples, roundEven(samples)) && roundEven(samples) >= 1;
}

const isSecondCorner = (corner, other) => (values) =>
  values.time_norm === "ram" && values[corner] === null && values[other] !== null
    ? "is required: a band has two corners"
    : "";

/**
 * The rules between the values of a row, in the order in which they are reported (params.py).
 *
 * @param {Object} section  limits.params
 * @returns {import("./rules.js").Rule[]}
 */
export function rulesOf(section) {
  return [
    ...RULES_OF_WINDOWS,
    ...rulesOfConditions(section),
    ...RULES_OF_METHODS,
    ...RULES_OF_BANDS,
  ];
}

/** Band, windows and lags. */
const RULES_OF_WINDOWS = [
  rule("freqmax", ["freqmin", "freqmax"], ({ freqmin, freqmax }) =>
    freqmin < freqmax ? "" : `Hz must be higher than freqmin (${general(freqmin)} Hz)`,
  ),
  rule("freqmax", ["freqmax", "fs"], ({ freqmax, fs }) =>
    freqmax <= fs / 2
      ? ""
      : `Hz exceeds the Nyquist frequency (${general(fs / 2)} Hz at fs = ${general(fs)} Hz); ` +
        "lower freqmax or raise fs",
  ),
  ...["cc_len", "cc_step"].map((name) =>
    rule(name, [name, "fs"], ({ [name]: seconds, fs }) =>
      isWhole(seconds, fs)
        ? ""
        : `s is ${general(seconds * fs, 9)} samples at fs = ${general(fs)} Hz; ` +
          "it must be a whole number",
    ),
  ),
  rule("maxlag", ["maxlag", "cc_len", "fs"], ({ maxlag, cc_len, fs }) =>
    maxlag < cc_len && nLags({ maxlag, fs }) < roundEven(cc_len * fs)
      ? ""
      : `s must be shorter than cc_len (${general(cc_len)} s)`,
  ),
  rule("maxlag", ["maxlag", "fs"], ({ maxlag, fs }) =>
    maxlag * fs >= 0.5 ? "" : `s is shorter than one sample at fs = ${general(fs)} Hz`,
  ),
  rule("cc_len", ["cc_len", "freqmin"], ({ cc_len, freqmin }) =>
    cc_len * freqmin >= 1
      ? ""
      : `s is shorter than one period of freqmin (${general(freqmin)} Hz); ` +
        `set at least ${general(1 / freqmin)} s`,
  ),
  rule("normalisation", ["normalisation", "method"], ({ normalisation, method }) =>
    method === "phase" && normalisation === "coefficient"
      ? "cannot be combined with method=phase, which is already normalised; set none"
      : "",
  ),
  rule("substack", ["substack", "cc_step"], ({ substack, cc_step }) =>
    !substack || substack >= cc_step
      ? ""
      : `s is shorter than cc_step (${general(cc_step)} s), so it averages no windows; set 0`,
  ),
];

/** Parameters that have a meaning only with certain values of another. */
function rulesOfConditions(section) {
  return [
    ...Object.entries(GOES_WITH).map(([name, [column, those]]) =>
      rule(name, [name, column], ({ [name]: given, [column]: other }) =>
        given === defaultOf(section[name]) || those.includes(other)
          ? ""
          : `applies only with ${column}=${those.join(" or ")}`,
      ),
    ),
    ...["skirt_low", "skirt_high"].map((name) =>
      rule(name, [name, "whiten", "method"], ({ [name]: skirt, whiten, method }) =>
        !skirt || whiten || DIVIDING.includes(method)
          ? ""
          : "applies only with whiten=true, method=coherence or method=deconvolution",
      ),
    ),
  ];
}

/** Normalisation, method and quality rules. */
const RULES_OF_METHODS = [
  rule("method", ["method", "whiten"], ({ method, whiten }) =>
    whiten && DIVIDING.includes(method)
      ? "divides by a spectrum that whiten=true has flattened; set whiten=false"
      : "",
  ),
  rule("normalisation", ["normalisation", "method"], ({ normalisation, method }) =>
    method === "deconvolution" && normalisation === "coefficient"
      ? "removes the amplitude ratio that method=deconvolution measures; set none"
      : "",
  ),
  rule("clamp", ["clamp", "time_norm"], ({ clamp, time_norm }) =>
    time_norm === "clamp" && clamp === null
      ? "is required by time_norm=clamp; set an amplitude"
      : "",
  ),
  rule("drop_dead", ["drop_dead", "response"], ({ drop_dead, response }) =>
    drop_dead && response === "none"
      ? "requires ground motion, but response=none keeps counts"
      : "",
  ),
  rule("drop_dead", ["drop_dead", "freqmin"], ({ drop_dead, freqmin }) =>
    drop_dead && freqmin >= 10
      ? "requires freqmin below 10 Hz, the upper limit of Peterson's model"
      : "",
  ),
];

/** Bands of the running absolute mean, rotation, and the taper of the whitening band. */
const RULES_OF_BANDS = [
  rule(
    "ram_freqmin",
    ["ram_freqmin", "ram_freqmax", "time_norm"],
    isSecondCorner("ram_freqmin", "ram_freqmax"),
  ),
  rule(
    "ram_freqmax",
    ["ram_freqmax", "ram_freqmin", "time_norm"],
    isSecondCorner("ram_freqmax", "ram_freqmin"),
  ),
  rule("rotate", ["rotate", "components"], ({ rotate, components }) =>
    rotate && !ENDS.every((a) => ENDS.every((b) => wantsEnds({ components }, a, b)))
      ? "requires all nine of EE, EN ... ZZ; set components=all"
      : "",
  ),
  rule(
    "ram_freqmax",
    ["ram_freqmin", "ram_freqmax", "fs"],
    ({ ram_freqmin: low, ram_freqmax: high, fs }) =>
      !low || !high || (low < high && high <= fs / 2)
        ? ""
        : `Hz must be higher than ram_freqmin (${general(low)} Hz) and at most fs/2`,
  ),
  rule("skirt_low", ["skirt_low", "freqmin"], ({ skirt_low, freqmin }) =>
    !skirt_low || skirt_low <= freqmin / 2
      ? ""
      : `Hz exceeds half of freqmin (${general(freqmin)} Hz), where the pre-filter ends`,
  ),
];

function isClose(a, b) {
  return Math.abs(a - b) <= Math.max(1e-9 * Math.max(Math.abs(a), Math.abs(b)), 1e-6);
}

/** Samples on each side of zero lag. */
export function nLags({ maxlag, fs }) {
  return roundEven(maxlag * fs);
}

/** Whether the last letters of two channels are among the components that are wanted. */
export function wantsEnds({ components }, first, second) {
  return (
    !components.length ||
    components.some(
      (pattern) => ["?", first].includes(pattern[0]) && ["?", second].includes(pattern[1]),
    )
  );
}

/** The params.csv that `parseParams` reads: the six required columns, and those without their default. */
export function formatParams(params, limits) {
  const names = Object.keys(limits.params).filter((name) => {
    const limit = limits.params[name];
    return limit.required || formatValue(params[name]) !== formatValue(defaultOf(limit));
  });
  return formatCsv([names, names.map((name) => formatValue(params[name]))]);
}
