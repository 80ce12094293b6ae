/** The row of stacking_params.csv: what its values mean together (stacking_params.py). */

import { oneRow } from "./csv_table.js";
import { general } from "../lib/python_numbers.js";
import { broken, rule } from "./rules.js";

export const STACKING = "stacking_params.csv";
const WITH_POWER = ["phase-weighted", "tf-phase-weighted", "nth-root", "adaptive-covariance"];

/** Types with which a column goes. */
const TYPES = {
  phase_smooth: ["phase-weighted"],
  power: WITH_POWER,
  select: ["selective"],
  threshold: ["selective"],
};

/** Whether a column has a meaning with a type of stack. */
export function goesWithType(name, type) {
  return TYPES[name]?.includes(type) ?? true;
}

/** Hours, days as hours, or months (ME). */
function interval(text) {
  if (text.endsWith("ME")) return [Number(text.slice(0, -2)), "ME"];
  return [Number(text.slice(0, -1)) * (text.endsWith("D") ? 24 : 1), "h"];
}

function needOfMoving({ moving, interval: length, stack_all }) {
  if (!moving || stack_all) return "";
  const every = length || "1D";
  const [whole, unit] = interval(every);
  const [step, stepUnit] = interval(moving);
  if (unit !== stepUnit)
    return `is not in the unit of interval=${every}; months go with months only`;
  return step >= whole
    ? `is not shorter than interval=${every}, so nothing moves; leave it empty`
    : "";
}

/** Between the values of a row, in the order in which they are reported. */
export const RULES = [
  ...Object.entries(TYPES).map(([name, types]) =>
    rule(name, [name, "type"], ({ [name]: given, type }) =>
      given === null || types.includes(type)
        ? ""
        : `goes with type=${types.join(" or ")} only, not with ${type}; leave it empty`,
    ),
  ),
  rule("power", ["power", "type"], ({ power, type }) =>
    type === "nth-root" && power !== null && power < 1
      ? "is no order of a root; write 1 or more"
      : "",
  ),
  rule("threshold", ["threshold", "select"], ({ threshold, select }) =>
    (select ?? "correlation") === "correlation" && (threshold ?? 0) > 1
      ? "is more than any correlation; write up to 1"
      : "",
  ),
  rule("bootstrap", ["bootstrap"], ({ bootstrap }) =>
    bootstrap === 1 || bootstrap % 1
      ? "is no number of resamples; write 0, or a whole number from 2 on"
      : "",
  ),
  rule("bootstrap", ["bootstrap", "type"], ({ bootstrap, type }) =>
    bootstrap && type === "robust"
      ? "cannot go with type=robust, which takes a window drawn twice for agreement; write 0"
      : "",
  ),
  ...["interval", "moving"].map((name) =>
    rule(name, [name, "stack_all"], ({ [name]: given, stack_all }) =>
      given && stack_all
        ? "has no meaning with stack_all=true, which makes one trace of all days; write false, " +
          "or leave it empty"
        : "",
    ),
  ),
  rule("moving", ["moving", "interval", "stack_all"], needOfMoving),
  ...["dvv_min_lag", "dvv_max_lag", "dvv_max"].map((name) =>
    rule(name, [name, "dvv"], ({ [name]: given, dvv }) =>
      given !== null && dvv === "none"
        ? "has no meaning without dvv; write stretching or cross-spectrum there"
        : "",
    ),
  ),
  rule("dvv", ["dvv", "stack_all"], ({ dvv, stack_all }) =>
    dvv !== "none" && stack_all
      ? "compares intervals with each other, and stack_all=true makes one trace of all; " +
        "write false"
      : "",
  ),
  rule(
    "dvv_max_lag",
    ["dvv_max_lag", "dvv_min_lag", "dvv"],
    ({ dvv_max_lag: high, dvv_min_lag: low, dvv }) =>
      dvv !== "none" && high !== null && (low ?? 0) >= high
        ? `s is not above dvv_min_lag=${general(low)} s`
        : "",
  ),
];

/**
 * stacking_params.csv -> its one row.
 *
 * @param {string} text
 * @param {Object} limits  limits.json
 * @returns {{values: Object, problems: import("./csv_table.js").Problem[]}}  `values`: those that
 *     are right by themselves
 */
export function parseStacking(text, limits) {
  return oneRow(STACKING, text, limits.stacking, limits, (values) => broken(RULES, values));
}
