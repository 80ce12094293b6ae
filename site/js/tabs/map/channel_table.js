/** A table of channels, a page at a time, with sorting and selection. */

import { button, make } from "../../lib/dom.js";
import { grouped } from "../../lib/python_numbers.js";
import { formatTime } from "../../request/stations.js";

const PAGE = 100; // rows; a browser takes seconds to lay out ten thousand
const HEADS = {
  network: "Network",
  station: "Station",
  location: "Loc.",
  channel: "Channel",
  latitude: "Latitude",
  longitude: "Longitude",
  elevation: "Elev. (m)",
  rate: "Rate (Hz)",
  start: "Start",
  end: "End",
};
const NUMBERS = ["latitude", "longitude", "elevation", "rate"];

export class ChannelTable {
  #on;
  #rows = [];
  #first = 0; // index of the first row of the page
  #lastClicked = null; // index of a row
  #order = { column: "network", isDescending: false };
  #isSelected = () => false;

  /**
   * @param {{onSort: (column: string, isDescending: boolean) => void,
   *     onSelect: (ids: string[], isOn: boolean) => void, onAll: (isOn: boolean) => void,
   *     onStation: (channel: Object) => void, onHover: (channel: Object|null) => void}} on
   */
  constructor(on) {
    this.#on = on;
    this.heads = Object.entries(HEADS).map(([name, text]) => this.#makeHead(name, text));
    this.all = make("input", {
      type: "checkbox",
      ariaLabel: "Select all listed channels",
      onchange: () => on.onAll(this.all.checked),
    });
    this.body = make("tbody");
    this.scroll = make(
      "div",
      { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "Table of channels" },
      this.#makeTable(),
    );
    this.element = make("div", { className: "listing" }, this.scroll, this.#makePager());
  }

  #makeHead(name, text) {
    const className = NUMBERS.includes(name) ? "number" : "";
    const sort = button(text, () => this.#sortBy(name));
    return make("th", { scope: "col", className, "data-column": name }, sort);
  }

  #makeTable() {
    const all = make("th", { scope: "col" }, make("span", {}, this.all));
    return make(
      "table",
      { className: "data" },
      make("caption", { className: "hidden" }, "Channels found"),
      make("thead", {}, make("tr", {}, all, ...this.heads)),
      this.body,
    );
  }

  #makePager() {
    this.range = make("span", { className: "small quiet" });
    this.previous = button("Previous", () => this.#turn(-1), { className: "plain" });
    this.next = button("Next", () => this.#turn(1), { className: "plain" });
    this.pager = make(
      "nav",
      { className: "row pager", ariaLabel: "Pages of the table" },
      this.range,
      make("span", { className: "push" }),
      this.previous,
      this.next,
    );
    return this.pager;
  }

  /** The column by which rows are sorted, and its direction. */
  get order() {
    return this.#order;
  }

  setRows(channels) {
    [this.#rows, this.#first, this.#lastClicked] = [channels, 0, null];
    this.#render();
  }

  /** @param {(id: string) => boolean} isSelected */
  setSelected(isSelected) {
    this.#isSelected = isSelected;
    this.#renderSelection();
  }

  /** Mark the rows of a station; null marks none. */
  setHovered(code) {
    for (const row of this.body.rows)
      row.classList.toggle("hovered", code !== null && row.dataset.id.startsWith(`${code}.`));
  }

  #sortBy(column) {
    const isDescending = this.#order.column === column && !this.#order.isDescending;
    this.#order = { column, isDescending };
    this.#on.onSort(column, isDescending);
  }

  #turn(pages) {
    const last = Math.floor((this.#rows.length - 1) / PAGE) * PAGE;
    this.#first = Math.max(0, Math.min(this.#first + pages * PAGE, last));
    this.#render();
    this.scroll.scrollTop = 0;
  }

  #render() {
    const [all, first] = [this.#rows.length, this.#first];
    const shown = this.#rows.slice(first, first + PAGE);
    this.body.replaceChildren(...shown.map((channel) => this.#rowOf(channel)));
    for (const head of this.heads) {
      if (head.dataset.column !== this.#order.column) head.removeAttribute("aria-sort");
      else head.ariaSort = this.#order.isDescending ? "descending" : "ascending";
    }
    this.range.textContent =
      all > PAGE
        ? `Rows ${grouped(first + 1)} to ${grouped(first + shown.length)} of ${grouped(all)}`
        : "";
    this.pager.hidden = all <= PAGE;
    this.previous.disabled = first === 0;
    this.next.disabled = first + PAGE >= all;
    this.#renderSelection();
  }

  #rowOf(channel) {
    const box = make("input", { type: "checkbox", ariaLabel: `Select ${channel.id}` });
    box.addEventListener("click", (event) => this.#select(channel, box.checked, event.shiftKey));
    const station = button(channel.station, () => this.#on.onStation(channel), {
      className: "plain",
      ariaLabel: `Show ${channel.network}.${channel.station} on the map`,
    });
    const cells = { ...cellsOf(channel), station };
    const row = make(
      "tr",
      { "data-id": channel.id },
      make("td", {}, box),
      ...Object.keys(HEADS).map((name) =>
        make("td", { className: NUMBERS.includes(name) ? "number" : "" }, cells[name]),
      ),
    );
    row.addEventListener("mouseenter", () => this.#on.onHover(channel));
    row.addEventListener("mouseleave", () => this.#on.onHover(null));
    return row;
  }

  /** Select the row of a clicked box; with shift, all rows from the last one clicked to this one. */
  #select(channel, isOn, isRange) {
    const clicked = this.#rows.indexOf(channel);
    const other = isRange && this.#lastClicked !== null ? this.#lastClicked : clicked;
    const [from, to] = [Math.min(clicked, other), Math.max(clicked, other)];
    this.#lastClicked = clicked;
    this.#on.onSelect(
      this.#rows.slice(from, to + 1).map((c) => c.id),
      isOn,
    );
  }

  #renderSelection() {
    for (const row of this.body.rows) {
      const isOn = this.#isSelected(row.dataset.id);
      row.classList.toggle("chosen", isOn);
      row.cells[0].firstChild.checked = isOn;
    }
    const n = this.#rows.filter((c) => this.#isSelected(c.id)).length;
    this.all.checked = n > 0 && n === this.#rows.length;
    this.all.indeterminate = n > 0 && n < this.#rows.length;
    this.all.disabled = !this.#rows.length;
  }
}

function cellsOf(channel) {
  const { end } = channel.epochs.at(-1);
  return {
    network: channel.network,
    location: channel.location || "--",
    channel: channel.channel,
    latitude: fixed(channel.latitude, 4),
    longitude: fixed(channel.longitude, 4),
    elevation: fixed(channel.elevation, 0),
    rate: channel.sampleRate ?? "",
    start: formatTime(channel.epochs[0].start).slice(0, 10),
    end: end === null ? "open" : formatTime(end).slice(0, 10),
  };
}

function fixed(value, digits) {
  return value === null ? "" : value.toFixed(digits);
}
