/** The form of the tab Map: filters of the query, its area and its data centre. */

import { button, make } from "../../lib/dom.js";
import { FormField } from "../../lib/form_field.js";
import { SIDES } from "./box.js";
import { CODES, FILTERS, readFilters } from "./query.js";

const LABELS = {
  network: ["Network", "TA,US"],
  station: ["Station", "*I*"],
  location: ["Location", "00,--"],
  channel: ["Channel", "BH?,HHZ"],
  start: ["Start", "2006-07-21"],
  end: ["End", "2007-04-15"],
  north: ["North", "49"],
  west: ["West", "-125"],
  east: ["East", "-117"],
  south: ["South", "41"],
};
const WILDCARDS = [
  ["TA,US", "a list"],
  ["*I*", "any characters: every code that contains I"],
  ["BH?", "one character: BHZ, BHN, BHE"],
  ["--", "the blank location code"],
];

export class FilterForm {
  #centres;
  #on;

  /**
   * @param {Object[]} centres  of config.json
   * @param {{onQuery: () => void, onCancel: () => void, onChange: () => void, onDraw: () => void}} on
   */
  constructor(centres, on) {
    [this.#centres, this.#on] = [centres, on];
    this.fields = Object.fromEntries(FILTERS.map((name) => [name, textField(name)]));
    this.centre = make(
      "select",
      { onchange: () => this.#offerExample() },
      ...centres.map(({ name, title }) => make("option", { value: name }, title)),
    );
    this.draw = button("Draw on the map", on.onDraw, { ariaPressed: "false" });
    this.query = make("button", { type: "submit", className: "primary" }, "Query");
    this.cancel = button("Cancel", on.onCancel, { hidden: true });
    this.example = button("Fill in an example", () => this.#fillExample(), { className: "plain" });
    this.status = make("div", { id: "map-status", role: "status", className: "status" });
    this.element = this.#makeForm();
    this.#offerExample();
  }

  #makeForm() {
    const { fields } = this;
    const buttons = make("div", { className: "row" }, this.query, this.cancel, this.example);
    const form = make(
      "form",
      { className: "card stack filters", noValidate: true, ariaLabel: "Find channels" },
      make("h2", {}, "Find channels"),
      new FormField("map-centre", "Data centre", this.centre).element,
      make("div", { className: "pairs" }, ...CODES.map((name) => fields[name].element)),
      wildcardHelp(),
      make("div", { className: "pairs" }, fields.start.element, fields.end.element),
      this.#makeArea(),
      make("div", { className: "ask" }, buttons, this.status),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#on.onQuery();
    });
    form.addEventListener("input", () => {
      this.validate(false);
      this.#on.onChange();
    });
    return form;
  }

  #makeArea() {
    const remove = button("Remove area", () => this.setBox(null), { className: "plain" });
    const sides = SIDES.map((side) => this.fields[side].element);
    return make(
      "fieldset",
      { className: "area" },
      make("legend", {}, "Area", make("span", { className: "unit" }, " (degrees)")),
      make("div", { className: "compass" }, ...sides),
      make("div", { className: "row" }, this.draw, remove),
      make(
        "p",
        { className: "small quiet" },
        "If west is greater than east, the area crosses the dateline.",
      ),
    );
  }

  /**
   * Show the errors at their fields.
   *
   * @param {boolean} isFinal  show those of empty fields too, and focus the first
   * @returns {Object|null}  the query; null where there are errors
   */
  validate(isFinal) {
    const { query, errors } = readFilters(this.values());
    for (const name of FILTERS) {
      // While a person types, only a field with content can have an error.
      const isShown = isFinal || this.fields[name].input.value.trim() !== "";
      this.fields[name].setError(isShown ? (errors[name] ?? "") : "");
    }
    const first = FILTERS.find((name) => errors[name]);
    if (isFinal && first) this.focus(first);
    return query;
  }

  /** The texts of all filters, and the name of the data centre. */
  values() {
    const texts = FILTERS.map((name) => [name, this.fields[name].input.value.trim()]);
    return { ...Object.fromEntries(texts), centre: this.centre.value };
  }

  setValues(texts) {
    for (const name of FILTERS) this.fields[name].input.value = texts[name] ?? "";
    if (this.#centres.some(({ name }) => name === texts.centre)) this.centre.value = texts.centre;
    this.#offerExample();
    this.validate(false);
  }

  setBox(box) {
    for (const side of SIDES) this.fields[side].input.value = box ? String(box[side]) : "";
    this.validate(false);
    this.#on.onChange();
  }

  /** The data centre that is chosen, of config.json. */
  get chosenCentre() {
    return this.#centres.find(({ name }) => name === this.centre.value);
  }

  focus(name) {
    this.fields[name].input.focus();
  }

  setDrawing(isOn) {
    this.draw.setAttribute("aria-pressed", isOn);
  }

  setBusy(isBusy) {
    this.query.disabled = isBusy;
    this.cancel.hidden = !isBusy;
  }

  /** Show the state of the query; `kind` is "", "warn" or "bad". */
  setStatus(kind, ...children) {
    this.status.className = `status ${kind && `message ${kind}`}`;
    this.status.replaceChildren(...children);
  }

  #offerExample() {
    this.example.hidden = !this.chosenCentre?.example;
  }

  #fillExample() {
    this.setValues({ ...this.chosenCentre.example, centre: this.centre.value });
    this.#on.onChange();
    this.focus("network");
  }
}

function textField(name) {
  const [label, placeholder] = LABELS[name];
  const isTime = name === "start" || name === "end";
  const input = make("input", {
    type: "text",
    name,
    placeholder,
    autocomplete: "off",
    spellcheck: false,
    inputMode: SIDES.includes(name) ? "decimal" : "text",
  });
  return new FormField(`map-${name}`, label, input, { unit: isTime ? "UTC" : "" });
}

function wildcardHelp() {
  const [star, question] = ["*", "?"].map((text) => make("code", {}, text));
  return make(
    "details",
    { className: "small" },
    make("summary", {}, "Wildcards: ", star, " ", question, " and lists"),
    make(
      "dl",
      { className: "facts" },
      ...WILDCARDS.flatMap(([code, meaning]) => [
        make("dt", {}, make("code", {}, code)),
        make("dd", {}, meaning),
      ]),
    ),
  );
}
