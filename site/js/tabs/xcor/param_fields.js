/** A form over a section of limits.json: a field for every parameter, of its kind. */

import { make } from "../../lib/dom.js";
import { field } from "../../lib/form_field.js";
import { formatValue } from "../../request/csv_table.js";
import { goesWith } from "../../request/params.js";

const GROUPS = {
  "Ground motion and temporal normalisation": [
    "response",
    "time_norm",
    "clip_factor",
    "clamp",
    "mute_factor",
    "ram_window",
    "ram_freqmin",
    "ram_freqmax",
    "ram_shared",
  ],
  "Spectrum and correlation method": [
    "whiten",
    "skirt_low",
    "skirt_high",
    "method",
    "water_level",
    "circular",
    "normalisation",
  ],
  Pairs: ["autocorrelations", "same_station", "components", "max_distance", "rotate"],
  "Output and quality rules": [
    "substack",
    "min_coverage",
    "drop_dead",
    "max_flat",
    "drop_clipped",
    "max_std",
    "max_median",
    "max_steps",
  ],
};
const MORE = {
  freqmin: "; the instrument response is removed above half of it",
};

/**
 * @param {Object} section  of limits.json
 * @param {() => void} onChange
 */
export function paramFields(section, onChange) {
  const fields = Object.fromEntries(
    Object.entries(section).map(([name, limit]) => [name, one(name, limit)]),
  );
  const required = Object.keys(section).filter((name) => section[name].required);
  const optional = Object.keys(section).filter((name) => !section[name].required);
  const grouped = Object.values(GROUPS).flat();
  // What limits.json has and no group names has a place as well.
  const groups = { ...GROUPS, Other: optional.filter((name) => !grouped.includes(name)) };
  const touched = make("span", { className: "chip", hidden: true });
  const folded = make(
    "details",
    { className: "more" },
    make("summary", {}, "More parameters ", touched),
    ...Object.entries(groups).map(([title, names]) =>
      make(
        "fieldset",
        {},
        make("legend", {}, title),
        make(
          "div",
          { className: "grid" },
          ...names.filter((name) => name in fields).map((name) => fields[name].element),
        ),
      ),
    ),
  );
  const element = make(
    "div",
    { className: "stack" },
    make("div", { className: "grid six" }, ...required.map((name) => fields[name].element)),
    folded,
  );

  function one(name, limit) {
    const empty = limit.default === null || limit.default === "" ? "" : formatValue(limit.default);
    const input = inputOf(limit, empty);
    input.name = name;
    input.addEventListener("input", onChange);
    const unit = limit.kind === "number" && limit.unit !== "1" ? limit.unit : "";
    const made = field(`xcor-${name}`, name, input, {
      unit,
      hint: sentence(limit.help + (MORE[name] ?? "")),
    });
    return {
      ...made,
      start: empty,
      read: () => (input.type === "checkbox" ? String(input.checked) : input.value.trim()),
      write: (text) =>
        input.type === "checkbox" ? (input.checked = text === "true") : (input.value = text),
    };
  }

  /** Whether another parameter has a value with which this one means something. */
  function isUsed(name) {
    const [column, values] = goesWith(name) ?? [];
    return !column || values.includes(fields[column].read());
  }

  return {
    element,
    /** Texts by column; what is not used, or is empty and not required, is left out. */
    row() {
      const names = Object.keys(fields).filter(
        (name) => isUsed(name) && (section[name].required || fields[name].read() !== ""),
      );
      return Object.fromEntries(names.map((name) => [name, fields[name].read()]));
    },
    /** Set all fields; those not given get their defaults. */
    setRow(row) {
      for (const [name, { start, write }] of Object.entries(fields)) write(row[name] ?? start);
      this.showUsed();
    },
    /** The texts that are not defaults. */
    changes() {
      return Object.fromEntries(
        Object.entries(this.row()).filter(([name, text]) => text !== fields[name].start),
      );
    },
    showUsed() {
      for (const name of Object.keys(fields)) fields[name].element.hidden = !isUsed(name);
      const n = Object.keys(this.changes()).filter((name) => !section[name].required).length;
      touched.textContent = `${n} changed`;
      touched.hidden = !n;
    },
    /** Show sentences at their fields: errors and advice by column. */
    tell(errors, advice) {
      for (const [name, shown] of Object.entries(fields)) {
        shown.setError(errors[name] ?? "");
        shown.setAdvice(errors[name] ? "" : (advice[name] ?? ""));
        if (errors[name] && folded.contains(shown.element)) folded.open = true;
      }
    },
    focus(name) {
      if (folded.contains(fields[name].element)) folded.open = true;
      fields[name].input.focus();
    },
    has: (name) => name in fields,
  };
}

function inputOf(limit, empty) {
  if (limit.kind === "choice")
    return make("select", {}, ...limit.choices.map((value) => make("option", { value }, value)));
  if (limit.kind === "flag") return make("input", { type: "checkbox" });
  const placeholder = empty || (limit.kind === "number" ? "empty" : "");
  return make("input", {
    type: "text",
    inputMode: limit.kind === "number" ? "decimal" : "text",
    placeholder,
    autocomplete: "off",
    spellcheck: false,
  });
}

function sentence(help) {
  return help[0].toUpperCase() + help.slice(1);
}
