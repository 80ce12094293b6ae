/** What the page makes of the two files of a job; for tests that compare it with the worker. */

import { readFileSync } from "node:fs";

import { problemText } from "../../site/js/request/csv_table.js";
import { formatStations, parseStations } from "../../site/js/request/stations.js";
import { RULES as STACKING_RULES, parseStacking } from "../../site/js/request/stacking_params.js";
import { estimateJob } from "../../site/js/request/cost.js";
import { formatParams, parseParams, rulesOf } from "../../site/js/request/params.js";

export const LIMITS = JSON.parse(
  readFileSync(new URL("../../xcor_daemon/request/limits.json", import.meta.url), "utf-8"),
);

/** The answer in the shape of golden/NAME/expected.json. */
export function answer(stations, params) {
  const first = parseStations(stations, LIMITS);
  const second = parseParams(params, LIMITS);
  const { estimate, problems: together } = estimateJob(first, second.values, LIMITS);
  const problems = [...first.problems, ...second.problems, ...together];
  if (problems.length) return { problems: problems.map(problemText) };
  return {
    stations: formatStations(first.channels).trimEnd().split("\n"),
    params: formatParams(second.params, LIMITS).trimEnd().split("\n"),
    estimate,
  };
}

/** Column and needs of every rule between values, by section. */
export const RULES = Object.fromEntries(
  [
    ["params", rulesOf(LIMITS.params)],
    ["stacking", STACKING_RULES],
  ].map(([section, rules]) => [section, rules.map(({ column, needs }) => [column, ...needs])]),
);

// As a program: requests on standard input, one JSON a line, and an answer a line.
if (process.argv[2] === "rules") console.log(JSON.stringify(RULES));
else if (process.argv[1] === new URL(import.meta.url).pathname) {
  for (const line of readFileSync(0, "utf-8").split("\n").filter(Boolean)) {
    const { stations, params, stacking } = JSON.parse(line);
    console.log(
      JSON.stringify(
        stacking === undefined
          ? answer(stations, params)
          : parseStacking(stacking, LIMITS).problems.map(problemText),
      ),
    );
  }
}
