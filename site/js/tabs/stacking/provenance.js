/** What made these results: version, attempt, request, inputs and digests. */

import { download, button, make } from "../../lib/dom.js";
import { counted } from "../../lib/format.js";
import { warningText } from "../../results/status.js";
import { parameters, provenance } from "./download_commands.js";

/** @param {import("../../results/results.js").Results} results */
export function aboutView({ manifest }) {
  const { inputs, request, units, warnings } = manifest;
  const failed = Array.isArray(units.failed) ? units.failed : [];
  const facts = (pairs) =>
    make(
      "dl",
      { className: "facts" },
      ...pairs.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]),
    );
  return make(
    "div",
    { className: "about" },
    make(
      "section",
      { className: "card stack" },
      make("h3", {}, "Software and job"),
      facts(provenance(manifest)),
      make(
        "div",
        {},
        button("Save manifest", () =>
          download(
            `manifest_${manifest.id}.json`,
            JSON.stringify(manifest, null, 1),
            "application/json",
          ),
        ),
      ),
    ),
    make(
      "section",
      { className: "card stack" },
      make("h3", {}, "Parameters, including defaults"),
      facts(parameters(request)),
    ),
    make(
      "section",
      { className: "card stack" },
      make("h3", {}, "Input files"),
      ...inputs.map((input) =>
        facts(
          ["key", "sha256", "etag"]
            .filter((name) => input[name])
            .map((name) => [name, String(input[name])]),
        ),
      ),
    ),
    failed.length
      ? make(
          "section",
          { className: "card stack" },
          make("h3", {}, `${counted(failed.length, "day")} failed`),
          list(failed.map(({ day, reason }) => `${day}: ${reason}`)),
        )
      : null,
    warnings.length
      ? make(
          "section",
          { className: "card stack" },
          make("h3", {}, counted(warnings.length, "warning")),
          list(warnings.map(warningText)),
        )
      : null,
  );
}

function list(texts) {
  const shown = texts.slice(0, 100);
  if (texts.length > 100) shown.push(`and ${texts.length - 100} more; see summary.csv`);
  return make("ul", { className: "small" }, ...shown.map((text) => make("li", {}, text)));
}
