/** The stacking request: which fields apply, checks, and stacking_params.csv. */

import { formatCsv } from "../lib/csv.js";
import { checkRow } from "./csv_table.js";
import { broken } from "./rules.js";
import { RULES, goesWithType } from "./stacking_params.js";

const TITLES = {
  type: "Method",
  phase_smooth: "Phase smoothing",
  power: "Power",
  select: "Selection criterion",
  threshold: "Threshold",
  stack_all: "One stack per pair over all days",
  interval: "Interval",
  moving: "Interval step",
  bootstrap: "Bootstrap resamples",
  dvv: "Velocity change (dv/v)",
  dvv_min_lag: "Coda start",
  dvv_max_lag: "Coda end",
  dvv_max: "Maximum change",
  pairs: "Pairs to plot",
  shots: "Virtual source gathers",
  svg: "Also save images as SVG",
};

// Conditions of columns beside the type; columns without one always apply.
const CONDITIONS = {
  interval: ({ stack_all }) => !isTrue(stack_all),
  moving: ({ stack_all }) => !isTrue(stack_all),
  bootstrap: ({ type }) => type !== "robust",
  dvv: ({ stack_all }) => !isTrue(stack_all),
  dvv_min_lag: (values) => hasChange(values),
  dvv_max_lag: (values) => hasChange(values),
  dvv_max: (values) => hasChange(values),
};

const DESCRIPTIONS = {
  linear: "The mean of all windows.",
  "phase-weighted":
    "The mean, weighted by the phase coherence of the windows (Schimmel and Paulssen 1997).",
  robust: "Windows that differ from the stack get smaller weights (Pavlis and Vernon 2010).",
  "tf-phase-weighted":
    "As phase-weighted, with the phase coherence measured in time and frequency.",
  "nth-root":
    "The mean of n-th roots: suppresses transient high amplitudes, but distorts the waveform.",
  selective: "Only windows that correlate with the stack, or have a high signal-to-noise ratio.",
  "adaptive-covariance": "Retains signals that are coherent between windows (Nakata et al. 2015).",
  median: "The median of the windows at each lag.",
};

const isTrue = (value) => String(value) === "true";
const hasChange = ({ stack_all, dvv }) => !isTrue(stack_all) && Boolean(dvv) && dvv !== "none";

/** The title of a column. */
export function titleOf(name) {
  return TITLES[name] ?? name;
}

/** The description of a method; "" for an unknown one. */
export function describeMethod(type) {
  return DESCRIPTIONS[type] ?? "";
}

/** The columns that users set: all but the job's, in the order of the page. */
export function columnsOf(limits) {
  const known = Object.keys(TITLES).filter((name) => name in limits);
  return [...known, ...Object.keys(limits).filter((name) => name !== "job" && !(name in TITLES))];
}

/** Whether a column has a meaning with the values of the others. */
export function applies(name, values) {
  return goesWithType(name, values.type) && (CONDITIONS[name]?.(values) ?? true);
}

/** The values that a new request begins with, as texts. */
export function defaultsOf(limits) {
  return Object.fromEntries(
    columnsOf(limits).map((name) => [name, String(limits[name].default ?? "")]),
  );
}

/**
 * All errors by column, with the messages of the service (stacking_params.py).
 *
 * @param {Object<string, string>} values
 * @param {Object} limits  limits.stacking
 * @param {{pairs: Set<string>, channels: Set<string>}} known  those of the job
 * @returns {Object<string, string>}
 */
export function problemsOf(values, limits, known) {
  const row = {};
  for (const name of columnsOf(limits)) {
    const text = (values[name] ?? "").trim();
    if (applies(name, values) && text !== "") row[name] = text;
  }
  const checked = checkRow(row, limits);
  const found = {};
  for (const { column, value, need } of [...checked.problems, ...broken(RULES, checked.values)]) {
    const text = `${value} ${need}`;
    found[column] = found[column] ? `${found[column]}; ${text}` : text;
  }
  for (const name of Object.keys(row)) {
    const unknown = unknownIn(row[name], limits[name].kind, known);
    if (unknown !== undefined) found[name] = `"${unknown}" is not in this job.`;
  }
  return found;
}

/** The first of a list of pairs or channels that the job does not have. */
function unknownIn(text, kind, { pairs, channels }) {
  const there = { pairs, channels }[kind];
  if (!there?.size) return undefined; // another kind; or not loaded, and the service checks it
  return text
    .split(";")
    .map((one) => one.trim())
    .find((one) => !there.has(one));
}

/**
 * stacking_params.csv: the four original columns, and those that are not at their default.
 *
 * @param {Object<string, string>} values
 * @param {Object} limits
 * @param {string} job  id of the correlation job
 */
export function stackingCsv(values, limits, job) {
  const first = ["type", "phase_smooth", "stack_all"];
  const isSet = (name) =>
    applies(name, values) &&
    (values[name] ?? "").trim() !== "" &&
    values[name].trim() !== String(limits[name].default ?? "");
  const more = columnsOf(limits).filter((name) => !first.includes(name) && isSet(name));
  const cell = (name) => (applies(name, values) ? (values[name] ?? "").trim() : "");
  return formatCsv([
    [...first, "job", ...more],
    [...first.map(cell), job, ...more.map(cell)],
  ]);
}

/** A short title of a stacking request, for the list of jobs. */
export function requestTitle(values) {
  if (isTrue(values.stack_all)) return `${values.type} stack of all days`;
  const every = values.interval?.trim() || "1D";
  return `${values.type} stacks of ${every}${values.moving?.trim() ? ` every ${values.moving.trim()}` : ""}${hasChange(values) ? ", dv/v" : ""}`;
}
