/** The stacking request: which fields go with which, checks, and stacking_params.csv; knows no page. */

import { formatCsv } from "../csv.js";

const TITLES = {
  type: "Method",
  phase_smooth: "Smooth the phases over",
  power: "Power",
  select: "Select by",
  threshold: "Threshold",
  stack_all: "One trace a pair over all days",
  interval: "Interval",
  moving: "A new interval every",
  bootstrap: "Bootstrap resamples",
  dvv: "Change of velocity (dv/v)",
  dvv_min_lag: "Coda from",
  dvv_max_lag: "Coda to",
  dvv_max: "Largest change",
  pairs: "Pairs to draw",
  shots: "Channels to draw against all others",
  svg: "Images as SVG too",
};

// Which a column goes with; the others are always there. Request.py refuses the same.
const WITH = {
  phase_smooth: ({ type }) => type === "phase-weighted",
  power: ({ type }) =>
    ["phase-weighted", "tf-phase-weighted", "nth-root", "adaptive-covariance"].includes(type),
  select: ({ type }) => type === "selective",
  threshold: ({ type }) => type === "selective",
  interval: ({ stack_all }) => !isTrue(stack_all),
  moving: ({ stack_all }) => !isTrue(stack_all),
  bootstrap: ({ type }) => type !== "robust",
  dvv: ({ stack_all }) => !isTrue(stack_all),
  dvv_min_lag: (values) => hasChange(values),
  dvv_max_lag: (values) => hasChange(values),
  dvv_max: (values) => hasChange(values),
};

const ABOUT = {
  linear: "The mean of all windows.",
  "phase-weighted":
    "The mean, weighted by how well the phases of the windows agree (Schimmel and Paulssen 1997).",
  robust: "Windows that disagree with the rest count less (Pavlis and Vernon 2010).",
  "tf-phase-weighted": "As phase-weighted, but agreement is measured in time and frequency.",
  "nth-root":
    "The mean of n-th roots: suppresses what is loud only now and then; distorts the shape.",
  selective: "Only windows that resemble the stack, or are clear by themselves.",
  "adaptive-covariance": "Keeps what is coherent between windows (Nakata et al. 2015).",
  median: "The median of the windows at every lag.",
};

const isTrue = (value) => String(value) === "true";
const hasChange = ({ stack_all, dvv }) => !isTrue(stack_all) && Boolean(dvv) && dvv !== "none";

/** What a person reads for a column. */
export function titleOf(name) {
  return TITLES[name] ?? name;
}

/** A method in a sentence; "" for one that this page does not know. */
export function aboutMethod(type) {
  return ABOUT[type] ?? "";
}

/** The columns that a person sets: all but the job's, in the order of the page. */
export function columnsOf(limits) {
  const known = Object.keys(TITLES).filter((name) => name in limits);
  return [...known, ...Object.keys(limits).filter((name) => name !== "job" && !(name in TITLES))];
}

/** Whether a column has a meaning with the others as they are. */
export function applies(name, values) {
  return WITH[name]?.(values) ?? true;
}

/** The values that a new request begins with, as texts. */
export function defaultsOf(limits) {
  return Object.fromEntries(
    columnsOf(limits).map((name) => [name, String(limits[name].default ?? "")]),
  );
}

/**
 * What is wrong, by column; the service has the last word, and says the same.
 *
 * @param {Object<string, string>} values
 * @param {Object} limits  limits.stacking
 * @param {{pairs: Set<string>, channels: Set<string>}} known  those of the job
 * @returns {Object<string, string>}
 */
export function problemsOf(values, limits, known) {
  const found = {};
  for (const name of columnsOf(limits)) {
    const value = (values[name] ?? "").trim();
    if (!applies(name, values) || value === "") continue;
    const text = problemOf(name, value, limits[name], known);
    if (text) found[name] = text;
  }
  const [low, high] = [values.dvv_min_lag, values.dvv_max_lag].map((text) =>
    parseFloat(text || "NaN"),
  );
  if (hasChange(values) && low >= high)
    found.dvv_max_lag ??= `Must be above ${low} s, where the coda begins.`;
  const bootstrap = Number(values.bootstrap || 0);
  if (applies("bootstrap", values) && (bootstrap === 1 || bootstrap % 1))
    found.bootstrap ??= "Write 0, or a whole number from 2 on.";
  if (values.type === "nth-root" && values.power && Number(values.power) < 1)
    found.power ??= "An order of 1 or more.";
  if (values.type === "selective" && values.select !== "snr" && Number(values.threshold) > 1)
    found.threshold ??= "A correlation is at most 1.";
  return found;
}

function problemOf(name, value, limit, known) {
  if (limit.kind === "number") return problemOfNumber(value, limit);
  if (limit.kind === "choice" && !limit.choices.includes(value))
    return `One of ${limit.choices.join(", ")}.`;
  if (limit.kind === "interval" && !/^[1-9][0-9]*(h|D|ME)$/.test(value))
    return "A number and h, D or ME (calendar months), such as 6h, 7D or 1ME.";
  if (limit.kind === "pairs" || limit.kind === "channels") {
    const there = limit.kind === "pairs" ? known.pairs : known.channels;
    if (!there.size) return ""; // not loaded; the service knows
    const stranger = value
      .split(";")
      .map((one) => one.trim())
      .find((one) => !there.has(one));
    if (stranger !== undefined) return `"${stranger}" is not in this job.`;
  }
  return "";
}

function problemOfNumber(value, { min, max, above, unit }) {
  const n = Number(value);
  const of = unit && unit !== "1" ? ` ${unit}` : "";
  if (!Number.isFinite(n)) return "Write a number, such as 2 or 0.5.";
  if (above !== undefined && n <= above) return `Must be above ${above}${of}.`;
  if (min !== undefined && n < min) return `At least ${min}${of}.`;
  if (max !== undefined && n > max) return `At most ${max}${of}.`;
  return "";
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

/** A stacking request in a few words, for the list of jobs. */
export function requestTitle(values) {
  if (isTrue(values.stack_all)) return `${values.type} stack of all days`;
  const every = values.interval?.trim() || "1D";
  return `${values.type} stacks of ${every}${values.moving?.trim() ? ` every ${values.moving.trim()}` : ""}${hasChange(values) ? ", dv/v" : ""}`;
}
