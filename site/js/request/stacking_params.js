/** The row of stacking_params.csv and the rules between its values (stacking_params.py). */

import { oneRow } from "./csv_table.js";
import { general } from "../lib/python_numbers.js";
import { broken, rule } from "./rules.js";

export const STACKING = "stacking_params.csv";
const WITH_POWER = ["phase-weighted", "tf-phase-weighted", "nth-root", "adaptive-covariance"];

/** Types of stack to which a column applies. */
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
    return `must have the unit of interval=${every}; months combine only with months`;
  return step >= whole
    ? `must be shorter than interval=${every}; leave it empty for consecutive intervals`
    : "";
}

/** The rules between the values of a row, in the order in which they are reported. */
export const RULES = [
  ...Object.entries(TYPES).map(([name, types]) =>
    rule(name, [name, "type"], ({ [name]: given, type }) =>
      given === null || types.includes(type)
        ? ""
        : `applies only with type=${types.join(" or ")}, not with ${type}; leave it empty`,
    ),
  ),
  rule("power", ["power", "type"], ({ power, type }) =>
    type === "nth-root" && power !== null && power < 1
      ? "is not a valid order of a root; set 1 or more"
      : "",
  ),
  rule("threshold", ["threshold", "select"], ({ threshold, select }) =>
    (select ?? "correlation") === "correlation" && (threshold ?? 0) > 1
      ? "exceeds 1, the largest correlation coefficient; set at most 1"
      : "",
  ),
  rule("bootstrap", ["bootstrap"], ({ bootstrap }) =>
    bootstrap === 1 || bootstrap % 1
      ? "is not a valid number of resamples; set 0 or a whole number of at least 2"
      : "",
  ),
  rule("bootstrap", ["bootstrap", "type"], ({ bootstrap, type }) =>
    bootstrap && type === "robust"
      ? "cannot be combined with type=robust, which takes a repeated window for agreement; set 0"
      : "",
  ),
  ...["interval", "moving"].map((name) =>
    rule(name, [name, "stack_all"], ({ [name]: given, stack_all }) =>
      given && stack_all
        ? "does not apply with stack_all=true, which stacks all days into one trace; " +
          "set stack_all=false, or leave it empty"
        : "",
    ),
  ),
  rule("moving", ["moving", "interval", "stack_all"], needOfMoving),
  ...["dvv_min_lag", "dvv_max_lag", "dvv_max"].map((name) =>
    rule(name, [name, "dvv"], ({ [name]: given, dvv }) =>
      given !== null && dvv === "none"
        ? "applies only with dvv=stretching or dvv=cross-spectrum"
        : "",
    ),
  ),
  rule("dvv", ["dvv", "stack_all"], ({ dvv, stack_all }) =>
    dvv !== "none" && stack_all
      ? "compares intervals, but stack_all=true stacks all days into one trace; " +
        "set stack_all=false"
      : "",
  ),
  rule(
    "dvv_max_lag",
    ["dvv_max_lag", "dvv_min_lag", "dvv"],
    ({ dvv_max_lag: high, dvv_min_lag: low, dvv }) =>
      dvv !== "none" && high !== null && (low ?? 0) >= high
        ? `s must be larger than dvv_min_lag (${general(low)} s)`
        : "",
  ),
];

/**
 * stacking_params.csv -> its one row.
 *
 * @param {string} text
 * @param {Object} limits  limits.json
 * @returns {{values: Object, problems: import("./csv_table.js").Problem[]}}  `values`: those that
 *     are valid by themselves
 */
export function parseStacking(text, limits) {
  return oneRow(STACKING, text, limits.stacking, limits, (values) => broken(RULES, values));
}
