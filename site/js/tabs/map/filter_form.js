/** The form of the map's tab: what is asked of which data centre. */

import { button, make } from "../../lib/dom.js";
import { field } from "../../lib/form_field.js";
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

/**
 * @param {Object[]} centres  of config.json
 * @param {{onQuery: () => void, onCancel: () => void, onChange: () => void, onDraw: () => void}} on
 */
export function filterForm(centres, on) {
  const fields = Object.fromEntries(FILTERS.map((name) => [name, textField(name)]));
  const centre = make(
    "select",
    {},
    ...centres.map((one) => make("option", { value: one.name }, one.title)),
  );
  const centreField = field("map-centre", "Data centre", centre);
  const query = make("button", { type: "submit", className: "primary" }, "Query");
  const cancel = button("Cancel", on.onCancel, { hidden: true });
  const draw = button("Draw on the map", on.onDraw, { ariaPressed: "false" });
  const clear = button("Remove area", () => setBox(null), { className: "plain" });
  const example = button("Fill in an example", fillExample, { className: "plain" });
  const status = make("div", { id: "map-status", role: "status", className: "status" });
  const area = make(
    "fieldset",
    { className: "area" },
    make("legend", {}, "Area", make("span", { className: "unit" }, " (degrees)")),
    make("div", { className: "compass" }, ...SIDES.map((side) => fields[side].element)),
    make("div", { className: "row" }, draw, clear),
    make(
      "p",
      { className: "small quiet" },
      "If west is greater than east, the area crosses the dateline.",
    ),
  );
  const element = make(
    "form",
    { className: "card stack filters", noValidate: true, ariaLabel: "Find channels" },
    make("h2", {}, "Find channels"),
    centreField.element,
    make("div", { className: "pairs" }, ...CODES.map((name) => fields[name].element)),
    wildcardHelp(),
    make("div", { className: "pairs" }, fields.start.element, fields.end.element),
    area,
    make(
      "div",
      { className: "ask" },
      make("div", { className: "row" }, query, cancel, example),
      status,
    ),
  );

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
    return field(`map-${name}`, label, input, { unit: isTime ? "UTC" : "" });
  }

  /** Show what is wrong; gives the query, or null with the first wrong field focused. */
  function check(isFinal) {
    const { query: read, errors } = readFilters(values());
    for (const name of FILTERS) {
      // While a person types, only a field with something in it can be wrong.
      const isShown = isFinal || fields[name].input.value.trim() !== "";
      fields[name].setError(isShown ? (errors[name] ?? "") : "");
    }
    const first = FILTERS.find((name) => errors[name]);
    if (isFinal && first) fields[first].input.focus();
    return read;
  }

  function values() {
    const texts = Object.fromEntries(
      FILTERS.map((name) => [name, fields[name].input.value.trim()]),
    );
    return { ...texts, centre: centre.value };
  }

  function setValues(texts) {
    for (const name of FILTERS) fields[name].input.value = texts[name] ?? "";
    if (centres.some((one) => one.name === texts.centre)) centre.value = texts.centre;
    offerExample();
    check(false);
  }

  function setBox(box) {
    for (const side of SIDES) fields[side].input.value = box ? String(box[side]) : "";
    check(false);
    on.onChange();
  }

  function chosenCentre() {
    return centres.find((one) => one.name === centre.value);
  }

  function offerExample() {
    example.hidden = !chosenCentre()?.example;
  }

  function fillExample() {
    setValues({ ...chosenCentre().example, centre: centre.value });
    on.onChange();
    fields.network.input.focus();
  }

  element.addEventListener("submit", (event) => {
    event.preventDefault();
    on.onQuery();
  });
  element.addEventListener("input", () => {
    check(false);
    on.onChange();
  });
  centre.addEventListener("change", offerExample);
  offerExample();

  return {
    element,
    check,
    values,
    setValues,
    setBox,
    chosenCentre,
    focus: (name) => fields[name].input.focus(),
    setDrawing: (isOn) => draw.setAttribute("aria-pressed", isOn),
    setBusy(isBusy) {
      query.disabled = isBusy;
      cancel.hidden = !isBusy;
    },
    /** Say how the query goes; `kind` is "", "bad" or "good". */
    setStatus(kind, ...children) {
      status.className = `status ${kind && `message ${kind}`}`;
      status.replaceChildren(...children);
    },
  };
}

function wildcardHelp() {
  const rows = [
    ["TA,US", "a list"],
    ["*I*", "any characters: every code that contains I"],
    ["BH?", "one character: BHZ, BHN, BHE"],
    ["--", "the blank location code"],
  ];
  return make(
    "details",
    { className: "small" },
    make(
      "summary",
      {},
      "Wildcards: ",
      make("code", {}, "*"),
      " ",
      make("code", {}, "?"),
      " and lists",
    ),
    make(
      "dl",
      { className: "facts" },
      ...rows.flatMap(([code, words]) => [
        make("dt", {}, make("code", {}, code)),
        make("dd", {}, words),
      ]),
    ),
  );
}
