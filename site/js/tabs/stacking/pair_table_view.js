/** The list of pairs: sorted by its heads, filtered by words and distance, a page at a time. */

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

/** @param {{onChoose: (pair: Object) => void}} actions */
export function openPairTable({ onChoose }) {
  let [pairs, shown, chosen, page] = [[], [], "", 0];
  let common = commonIds([]);
  let [by, isDown] = ["snr", true];

  const text = make("input", {
    type: "search",
    id: "pair-text",
    placeholder: "NAO00 NB2",
    autocomplete: "off",
    spellcheck: false,
    oninput: refilter,
  });
  const [least, most] = ["from", "to"].map((name) =>
    make("input", {
      type: "number",
      min: "0",
      step: "any",
      id: `pair-${name}`,
      ariaLabel: `Distance ${name}, km`,
      oninput: refilter,
    }),
  );
  const count = make("p", { className: "small quiet", role: "status" });
  const heads = COLUMNS.map(({ name, title, unit, help }) => {
    const sort = button("", () => sortBy(name), { title: help });
    sort.append(title, unit ? make("span", { className: "quiet" }, ` ${unit}`) : "");
    return make("th", { scope: "col", className: name === "name" ? "" : "number" }, sort);
  });
  const body = make("tbody");
  const pages = make("div", { className: "row pages" });
  const element = make(
    "div",
    { className: "pairlist stack" },
    make(
      "div",
      { className: "row sift" },
      make(
        "div",
        { className: "field grow" },
        make("label", { for: "pair-text" }, "Channels"),
        text,
      ),
      make(
        "fieldset",
        { className: "field" },
        make("legend", {}, "Distance ", make("span", { className: "unit" }, "km")),
        make("div", { className: "row" }, least, make("span", { ariaHidden: "true" }, "–"), most),
      ),
    ),
    count,
    make(
      "div",
      { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "Pairs" },
      make(
        "table",
        { className: "data" },
        make(
          "caption",
          { className: "hidden" },
          "Pairs of channels; press the button in a row to plot it",
        ),
        make("thead", {}, make("tr", {}, ...heads)),
        body,
      ),
    ),
    pages,
  );

  function sortBy(name) {
    isDown = by === name ? !isDown : !["name", "distance", "lag"].includes(name);
    by = name;
    page = 0;
    draw();
  }

  function refilter() {
    page = 0;
    draw();
  }

  function draw() {
    const [minDistance, maxDistance] = [least, most].map((field) =>
      field.value === "" ? NaN : Number(field.value),
    );
    shown = sortPairs(
      filterPairs(pairs, { text: text.value, minDistance, maxDistance }),
      by,
      isDown,
    );
    COLUMNS.forEach(({ name }, k) =>
      heads[k].setAttribute(
        "aria-sort",
        name !== by ? "none" : isDown ? "descending" : "ascending",
      ),
    );
    const last = Math.max(0, Math.ceil(shown.length / PAGE) - 1);
    page = Math.min(page, last);
    body.replaceChildren(...shown.slice(page * PAGE, (page + 1) * PAGE).map(rowOf));
    const found =
      shown.length === pairs.length
        ? counted(pairs.length, "pair")
        : `${shown.length.toLocaleString("en")} of ${counted(pairs.length, "pair")}`;
    count.textContent = common.text ? `${found} of ${common.text}` : found;
    pages.hidden = last === 0;
    pages.replaceChildren(
      button("Previous", () => turn(-1), { disabled: page === 0 }),
      make(
        "span",
        { className: "small quiet" },
        `${page * PAGE + 1} to ${Math.min(shown.length, (page + 1) * PAGE)} of ${shown.length.toLocaleString("en")}`,
      ),
      button("Next", () => turn(1), { disabled: page === last }),
    );
  }

  function turn(step) {
    page += step;
    draw();
    const [back, , on] = pages.children;
    (step > 0 && !on.disabled
      ? on
      : step < 0 && !back.disabled
        ? back
        : step > 0
          ? back
          : on
    ).focus();
  }

  const short = (id) => id.slice(common.start, id.length - common.end);

  function rowOf(pair) {
    const isChosen = pair.name === chosen;
    const choose = button("", () => onChoose(pair), {
      className: "plain pair",
      title: pair.name.replace("|", " – "),
      "aria-pressed": String(isChosen),
    });
    choose.append(
      short(pair.first),
      make("span", { className: "quiet" }, " – "),
      short(pair.second),
    );
    const cells = COLUMNS.slice(1).map(({ name, digits }) =>
      make("td", { className: "number" }, number(pair[name], digits)),
    );
    return make(
      "tr",
      {
        className: isChosen ? "chosen" : "",
        "data-pair": pair.name,
        onclick: (event) => event.target.closest("button") || onChoose(pair),
      },
      make("td", {}, choose),
      ...cells,
    );
  }

  return {
    element,
    /** Show other pairs. */
    set(list) {
      [pairs, page, common] = [list, 0, commonIds(list)];
      draw();
    },
    /** Mark one pair, without scrolling or taking the focus. */
    mark(name) {
      chosen = name;
      for (const row of body.children) {
        const isChosen = row.dataset.pair === name;
        row.className = isChosen ? "chosen" : "";
        row.querySelector("button").setAttribute("aria-pressed", String(isChosen));
      }
    },
    /** The pairs that are shown, all pages of them. */
    get shown() {
      return shown;
    },
  };
}
