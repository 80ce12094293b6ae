/** Provenance of the results: version, attempt, request, inputs and digests. */

import { download, button, make } from "../../lib/dom.js";
import { counted } from "../../lib/format.js";
import { warningText } from "../../results/status.js";
import { parameters, provenance } from "./download_commands.js";

/** @param {import("../../results/results.js").Results} results */
export function provenanceView({ manifest }) {
  const { inputs, request, units, warnings } = manifest;
  const failed = Array.isArray(units.failed) ? units.failed : [];
  const json = JSON.stringify(manifest, null, 1);
  const save = button("Save manifest", () =>
    download(`manifest_${manifest.id}.json`, json, "application/json"),
  );
  const reasons = failed.map(({ day, reason }) => `${day}: ${reason}`);
  return make(
    "div",
    { className: "about" },
    card("Software and job", facts(provenance(manifest)), make("div", {}, save)),
    card("Parameters, including defaults", facts(parameters(request))),
    card("Input files", ...inputs.map((input) => facts(digestsOf(input)))),
    failed.length ? card(`${counted(failed.length, "day")} failed`, list(reasons)) : null,
    warnings.length
      ? card(counted(warnings.length, "warning"), list(warnings.map(warningText)))
      : null,
  );
}

function card(title, ...content) {
  return make("section", { className: "card stack" }, make("h3", {}, title), ...content);
}

function facts(pairs) {
  return make(
    "dl",
    { className: "facts" },
    ...pairs.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]),
  );
}

function digestsOf(input) {
  return ["key", "sha256", "etag"]
    .filter((name) => input[name])
    .map((name) => [name, String(input[name])]);
}

function list(texts) {
  const shown = texts.slice(0, 100);
  if (texts.length > 100) shown.push(`and ${texts.length - 100} more; see summary.csv`);
  return make("ul", { className: "small" }, ...shown.map((text) => make("li", {}, text)));
}
