/** What a job comes to, before it is launched: the figures of `xcor-daemon estimate`. */

import { make } from "../../lib/dom.js";
import { problemText } from "../../request/csv_table.js";
import { grouped } from "../../lib/python_numbers.js";
import { duration, size } from "../../lib/format.js";

/**
 * @param {{cores?: number, usd_per_core_hour?: number}} config  of the service, where it says so
 */
export function priceCard(config) {
  const body = make("div", { className: "stack", role: "status" });
  const element = make(
    "section",
    { className: "card stack price", ariaLabel: "Estimate" },
    make("h3", {}, "Estimate"),
    body,
  );
  return {
    element,
    /** Show a price, or why there is none. */
    show(price, problems, waiting = "") {
      const told = problems.map((one) => make("p", { className: "message bad" }, problemText(one)));
      body.replaceChildren(
        ...(price ? [facts(price, config)] : []),
        ...told,
        ...(waiting ? [make("p", { className: "quiet" }, waiting)] : []),
        ...(price
          ? [
              make(
                "p",
                { className: "small quiet" },
                "Upper bounds: gaps and missing days reduce them.",
              ),
            ]
          : []),
      );
    },
  };
}

/** The same figures in a list, for the card and for the question before the launch. */
export function facts(price, config) {
  const lines = [
    ["Pairs", grouped(price.pairs)],
    ["Days", grouped(price.days)],
    ["Windows per day", grouped(price.windows_per_day)],
    ["Pair-windows", grouped(price.pair_windows)],
    ["Download", size(price.bytes_in)],
    ["Correlations", size(price.bytes_out)],
    ["Computing time", computing(price.core_seconds, config.cores)],
  ];
  if (config.usd_per_core_hour)
    lines.push(["Cost", cost(price.core_seconds, config.usd_per_core_hour)]);
  return make(
    "dl",
    { className: "facts" },
    ...lines.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]),
  );
}

function computing(seconds, cores) {
  const alone = `${duration(seconds)} on one core`;
  return cores > 1
    ? `${alone}, ${duration(seconds / cores)} on the ${cores} cores of this service`
    : alone;
}

function cost(seconds, perHour) {
  const usd = (seconds / 3600) * perHour;
  return usd < 0.01 ? "less than 0.01 USD" : `up to ${usd.toFixed(2)} USD`;
}
