/** The fields of a section of limits.json: one for every parameter, of its kind. */

import { make } from "../../lib/dom.js";
import { FormField } from "../../lib/form_field.js";
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

export class ParamFields {
  #section;
  #fields;

  /**
   * @param {Object} section  of limits.json
   * @param {() => void} onChange
   */
  constructor(section, onChange) {
    this.#section = section;
    this.#fields = Object.fromEntries(
      Object.entries(section).map(([name, limit]) => [name, new ParamField(name, limit, onChange)]),
    );
    this.changed = make("span", { className: "chip", hidden: true });
    this.optional = this.#makeOptional();
    const required = Object.keys(section).filter((name) => section[name].required);
    this.element = make(
      "div",
      { className: "stack" },
      make("div", { className: "grid six" }, ...required.map((name) => this.#fields[name].element)),
      this.optional,
    );
  }

  #makeOptional() {
    const optional = Object.keys(this.#section).filter((name) => !this.#section[name].required);
    const grouped = Object.values(GROUPS).flat();
    // Parameters of limits.json that are in no group.
    const groups = { ...GROUPS, Other: optional.filter((name) => !grouped.includes(name)) };
    return make(
      "details",
      { className: "more" },
      make("summary", {}, "More parameters ", this.changed),
      ...Object.entries(groups).map(([title, names]) => this.#makeGroup(title, names)),
    );
  }

  #makeGroup(title, names) {
    const known = names.filter((name) => name in this.#fields);
    const elements = known.map((name) => this.#fields[name].element);
    return make(
      "fieldset",
      {},
      make("legend", {}, title),
      make("div", { className: "grid" }, ...elements),
    );
  }

  /** Whether the value of another parameter gives this one a meaning. */
  #isUsed(name) {
    const [column, values] = goesWith(name) ?? [];
    return !column || values.includes(this.#fields[column].text);
  }

  /** Texts by column, without unused fields and empty optional ones. */
  row() {
    const names = Object.keys(this.#fields).filter(
      (name) =>
        this.#isUsed(name) && (this.#section[name].required || this.#fields[name].text !== ""),
    );
    return Object.fromEntries(names.map((name) => [name, this.#fields[name].text]));
  }

  /** Set all fields; those not given get their defaults. */
  setRow(row) {
    for (const [name, field] of Object.entries(this.#fields)) field.text = row[name] ?? field.start;
    this.showUsed();
  }

  /** The texts that differ from the defaults, by column. */
  changes() {
    return Object.fromEntries(
      Object.entries(this.row()).filter(([name, text]) => text !== this.#fields[name].start),
    );
  }

  /** Hide the fields without a meaning, and count the optional ones that were changed. */
  showUsed() {
    for (const name of Object.keys(this.#fields))
      this.#fields[name].element.hidden = !this.#isUsed(name);
    const n = Object.keys(this.changes()).filter((name) => !this.#section[name].required).length;
    this.changed.textContent = `${n} changed`;
    this.changed.hidden = !n;
  }

  /** Show errors and advice, by column, at their fields. */
  setMessages(errors, advice) {
    for (const [name, field] of Object.entries(this.#fields)) {
      field.setError(errors[name] ?? "");
      field.setAdvice(errors[name] ? "" : (advice[name] ?? ""));
      if (errors[name]) this.#unfold(field);
    }
  }

  focus(name) {
    this.#unfold(this.#fields[name]);
    this.#fields[name].input.focus();
  }

  has(name) {
    return name in this.#fields;
  }

  #unfold({ element }) {
    if (this.optional.contains(element)) this.optional.open = true;
  }
}

/** The field of one parameter. */
class ParamField extends FormField {
  constructor(name, limit, onChange) {
    const hasDefault = limit.default !== null && limit.default !== "";
    const start = hasDefault ? formatValue(limit.default) : "";
    const input = inputOf(limit, start);
    input.name = name;
    input.addEventListener("input", onChange);
    super(`xcor-${name}`, name, input, {
      unit: limit.kind === "number" && limit.unit !== "1" ? limit.unit : "",
      hint: sentence(limit.help + (MORE[name] ?? "")),
    });
    this.start = start;
  }

  get text() {
    const { input } = this;
    return input.type === "checkbox" ? String(input.checked) : input.value.trim();
  }

  set text(text) {
    if (this.input.type === "checkbox") this.input.checked = text === "true";
    else this.input.value = text;
  }
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

/** A help text with a capital, unless it begins with a value such as time_norm=clip. */
function sentence(help) {
  return /^\w+=/.test(help) ? help : help[0].toUpperCase() + help.slice(1);
}
