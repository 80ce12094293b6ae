/** The estimate of a job before its launch: the figures of `xcor-daemon estimate`. */

import { make } from "../../lib/dom.js";
import { duration, size } from "../../lib/format.js";
import { grouped } from "../../lib/python_numbers.js";
import { problemText } from "../../request/csv_table.js";

export class CostCard {
  #config;

  /** @param {{cores?: number, usd_per_core_hour?: number}} config  of the service, where known */
  constructor(config) {
    this.#config = config;
    this.body = make("div", { className: "stack", role: "status" });
    this.element = make(
      "section",
      { className: "card stack estimate", ariaLabel: "Estimate" },
      make("h3", {}, "Estimate"),
      this.body,
    );
  }

  /** Show an estimate, or the problems that prevent it; `nextStep`: a sentence, may be "". */
  show(estimate, problems, nextStep = "") {
    const bounds = "Upper bounds: gaps and missing days reduce them.";
    this.body.replaceChildren(
      ...(estimate ? [figures(estimate, this.#config)] : []),
      ...problems.map((one) => make("p", { className: "message bad" }, problemText(one))),
      ...(nextStep ? [make("p", { className: "quiet" }, nextStep)] : []),
      ...(estimate ? [make("p", { className: "small quiet" }, bounds)] : []),
    );
  }
}

/** The figures of an estimate in a list. */
export function figures(estimate, config) {
  const lines = [
    ["Pairs", grouped(estimate.pairs)],
    ["Days", grouped(estimate.days)],
    ["Windows per day", grouped(estimate.windows_per_day)],
    ["Pair-windows", grouped(estimate.pair_windows)],
    ["Download", size(estimate.bytes_in)],
    ["Correlations", size(estimate.bytes_out)],
    ["Computing time", computingTime(estimate.core_seconds, config.cores)],
  ];
  if (config.usd_per_core_hour)
    lines.push(["Cost", cost(estimate.core_seconds, config.usd_per_core_hour)]);
  return make(
    "dl",
    { className: "facts" },
    ...lines.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]),
  );
}

function computingTime(seconds, cores) {
  const alone = `${duration(seconds)} on one core`;
  return cores > 1
    ? `${alone}, ${duration(seconds / cores)} on the ${cores} cores of this service`
    : alone;
}

function cost(seconds, perHour) {
  const usd = (seconds / 3600) * perHour;
  return usd < 0.01 ? "less than 0.01 USD" : `up to ${usd.toFixed(2)} USD`;
}
