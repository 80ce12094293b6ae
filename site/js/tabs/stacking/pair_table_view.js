/** The list of pairs: sorted by its heads, filtered by channels and distance, a page at a time. */

import { button, make } from "../../lib/dom.js";
import { counted, number } from "../../lib/format.js";
import { commonIds, filterPairs, sortPairs } from "../../results/pair_table.js";

const PAGE = 100; // rows that are in the document at a time
const COLUMNS = [
  { name: "name", title: "Pair" },
  { name: "distance", title: "Distance", unit: "km", digits: 2 },
  { name: "snr", title: "SNR", digits: 1, help: "peak of the envelope relative to the noise" },
  { name: "lag", title: "Lag", unit: "s", digits: 2, help: "of the maximum" },
];
const ASCENDING = ["name", "distance", "lag"]; // columns that are sorted so at first

export class PairTableView {
  #onChoose;
  #pairs = [];
  #shown = [];
  #chosen = ""; // name of a pair
  #page = 0;
  #common = commonIds([]);
  #column = "snr";
  #isDescending = true;

  /** @param {{onChoose: (pair: Object) => void}} actions */
  constructor({ onChoose }) {
    this.#onChoose = onChoose;
    this.filter = this.#makeFilter();
    this.count = make("p", { className: "small quiet", role: "status" });
    this.heads = COLUMNS.map((column) => this.#makeHead(column));
    this.body = make("tbody");
    this.pages = make("div", { className: "row pages" });
    this.element = make(
      "div",
      { className: "pairlist stack" },
      this.filter,
      this.count,
      this.#makeTable(),
      this.pages,
    );
  }

  #makeFilter() {
    const oninput = () => this.#filter();
    this.text = make("input", {
      type: "search",
      id: "pair-text",
      placeholder: "NAO00 NB2",
      autocomplete: "off",
      spellcheck: false,
      oninput,
    });
    const [from, to] = ["from", "to"].map((name) =>
      make("input", {
        type: "number",
        min: "0",
        step: "any",
        id: `pair-${name}`,
        ariaLabel: `Distance ${name}, km`,
        oninput,
      }),
    );
    this.distances = [from, to];
    const label = make("label", { for: "pair-text" }, "Channels");
    return make(
      "div",
      { className: "row sift" },
      make("div", { className: "field grow" }, label, this.text),
      make(
        "fieldset",
        { className: "field" },
        make("legend", {}, "Distance ", make("span", { className: "unit" }, "km")),
        make("div", { className: "row" }, from, make("span", { ariaHidden: "true" }, "–"), to),
      ),
    );
  }

  #makeHead({ name, title, unit, help }) {
    const sort = button("", () => this.#sortBy(name), { title: help });
    sort.append(title, unit ? make("span", { className: "quiet" }, ` ${unit}`) : "");
    return make("th", { scope: "col", className: name === "name" ? "" : "number" }, sort);
  }

  #makeTable() {
    const caption = "Pairs of channels; press the button in a row to plot it";
    return make(
      "div",
      { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "Pairs" },
      make(
        "table",
        { className: "data" },
        make("caption", { className: "hidden" }, caption),
        make("thead", {}, make("tr", {}, ...this.heads)),
        this.body,
      ),
    );
  }

  /** Show other pairs. */
  setPairs(pairs) {
    [this.#pairs, this.#page, this.#common] = [pairs, 0, commonIds(pairs)];
    this.#render();
  }

  /** Mark one pair, without scrolling or moving the focus. */
  mark(name) {
    this.#chosen = name;
    for (const row of this.body.children) {
      const isChosen = row.dataset.pair === name;
      row.className = isChosen ? "chosen" : "";
      row.querySelector("button").setAttribute("aria-pressed", String(isChosen));
    }
  }

  /** The pairs that pass the filter, all pages of them. */
  get shown() {
    return this.#shown;
  }

  #sortBy(name) {
    this.#isDescending = this.#column === name ? !this.#isDescending : !ASCENDING.includes(name);
    this.#column = name;
    this.#filter();
  }

  #filter() {
    this.#page = 0;
    this.#render();
  }

  #render() {
    const [minDistance, maxDistance] = this.distances.map((input) =>
      input.value === "" ? NaN : Number(input.value),
    );
    const wanted = { text: this.text.value, minDistance, maxDistance };
    this.#shown = sortPairs(filterPairs(this.#pairs, wanted), this.#column, this.#isDescending);
    const direction = this.#isDescending ? "descending" : "ascending";
    COLUMNS.forEach(({ name }, k) =>
      this.heads[k].setAttribute("aria-sort", name === this.#column ? direction : "none"),
    );
    const last = Math.max(0, Math.ceil(this.#shown.length / PAGE) - 1);
    this.#page = Math.min(this.#page, last);
    const first = this.#page * PAGE;
    this.body.replaceChildren(
      ...this.#shown.slice(first, first + PAGE).map((pair) => this.#rowOf(pair)),
    );
    this.#renderCount();
    this.#renderPages(last);
  }

  #renderCount() {
    const all = counted(this.#pairs.length, "pair");
    const isAll = this.#shown.length === this.#pairs.length;
    const found = isAll ? all : `${this.#shown.length.toLocaleString("en")} of ${all}`;
    const { text } = this.#common;
    this.count.textContent = text ? `${found} of ${text}` : found;
  }

  #renderPages(last) {
    const [page, all] = [this.#page, this.#shown.length];
    const rows = `${page * PAGE + 1} to ${Math.min(all, (page + 1) * PAGE)} of ${all.toLocaleString("en")}`;
    this.pages.hidden = last === 0;
    this.pages.replaceChildren(
      button("Previous", () => this.#turn(-1), { disabled: page === 0 }),
      make("span", { className: "small quiet" }, rows),
      button("Next", () => this.#turn(1), { disabled: page === last }),
    );
  }

  /** Show the next page or the one before; the focus stays on a button that can be pressed. */
  #turn(step) {
    this.#page += step;
    this.#render();
    const [previous, , next] = this.pages.children;
    const [same, other] = step > 0 ? [next, previous] : [previous, next];
    (same.disabled ? other : same).focus();
  }

  /** A channel id without the parts that all ids have in common. */
  #shorten(id) {
    return id.slice(this.#common.start, id.length - this.#common.end);
  }

  #rowOf(pair) {
    const isChosen = pair.name === this.#chosen;
    const choose = button("", () => this.#onChoose(pair), {
      className: "plain pair",
      title: pair.name.replace("|", " – "),
      "aria-pressed": String(isChosen),
    });
    const dash = make("span", { className: "quiet" }, " – ");
    choose.append(this.#shorten(pair.first), dash, this.#shorten(pair.second));
    const cells = COLUMNS.slice(1).map(({ name, digits }) =>
      make("td", { className: "number" }, number(pair[name], digits)),
    );
    return make(
      "tr",
      {
        className: isChosen ? "chosen" : "",
        "data-pair": pair.name,
        onclick: (event) => event.target.closest("button") || this.#onChoose(pair),
      },
      make("td", {}, choose),
      ...cells,
    );
  }
}
