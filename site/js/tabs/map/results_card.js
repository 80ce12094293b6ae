/** The channels found: filtered by facets, sorted and selected. */

import { button, download, make } from "../../lib/dom.js";
import { counted } from "../../lib/format.js";
import { grouped } from "../../lib/python_numbers.js";
import { ChannelTable } from "./channel_table.js";
import { countsOf, toGeoJson } from "./channels.js";
import { bestOfStations, FACETS, facetsOf, narrow, sorted } from "./facets.js";

const TITLES = {
  network: "Network",
  band: "Band",
  component: "Component",
  location: "Location",
  rate: "Rate",
  state: "State",
};

export class ResultsCard {
  #app;
  #on;
  #found = [];
  #shown = [];
  #chosen = {}; // value by facet

  /**
   * @param {{now: () => Date, notices: Object}} app
   * @param {{onShown: (channels: Object[]) => void, onSelection: (ids: Set<string>) => void,
   *     onStation: (code: string) => void, onHover: (code: string|null) => void,
   *     onSelectInArea: () => void, onBoxSelect: () => void}} on
   */
  constructor(app, on) {
    [this.#app, this.#on] = [app, on];
    this.selected = new Set(); // ids
    this.table = new ChannelTable({
      onSort: () => this.#render(),
      onSelect: (ids, isOn) => this.select(ids, isOn),
      onAll: (isOn) => this.#selectShown(isOn),
      onStation: (channel) => on.onStation(codeOf(channel)),
      onHover: (channel) => on.onHover(codeOf(channel)),
    });
    this.counts = make("p", { className: "counts", role: "status" });
    this.facets = Object.fromEntries(
      Object.keys(FACETS).map((name) => [name, this.#makeFacet(name)]),
    );
    this.body = make(
      "div",
      { className: "results-body" },
      this.#makeFacets(),
      this.#makeTools(),
      this.table.element,
    );
    this.empty = make(
      "p",
      { className: "empty" },
      "Enter a network, a station or an area on the left, then press Query. Results appear here and on the map.",
    );
    this.element = make(
      "section",
      { className: "card results", ariaLabel: "Channels found" },
      this.counts,
      this.empty,
      this.body,
    );
  }

  #makeFacet(name) {
    const choice = make("select", {
      onchange: () => {
        this.#chosen = { ...this.#chosen, [name]: choice.value };
        this.#render();
      },
    });
    return choice;
  }

  #makeFacets() {
    const labels = Object.entries(this.facets).map(([name, choice]) =>
      make("label", { className: "facet" }, make("span", {}, TITLES[name]), choice),
    );
    return make("div", { className: "row facets" }, ...labels);
  }

  #makeTools() {
    this.byBox = button("Draw a box", () => this.#on.onBoxSelect(), { ariaPressed: "false" });
    const save = () => download("stations.geojson", toGeoJson(this.#shown), "application/geo+json");
    return make(
      "div",
      { className: "row tools" },
      make("span", { className: "label" }, "Select"),
      button("All", () => this.#selectShown(true)),
      button("None", () => this.select([...this.selected], false)),
      button("Invert", () => this.#invert()),
      button("In the area", () => this.#on.onSelectInArea(), {
        title: "Select channels within the area of the form",
      }),
      this.byBox,
      this.#makeBestChoice(),
      button("GeoJSON", save, {
        className: "plain push",
        title: "Download the listed stations",
      }),
    );
  }

  #makeBestChoice() {
    const codes = make("input", {
      value: "HHZ,BHZ,EHZ",
      size: 12,
      spellcheck: false,
      ariaLabel: "Channels, best first",
    });
    const locations = make("input", {
      value: "00,--,10",
      size: 7,
      spellcheck: false,
      ariaLabel: "Locations, best first",
    });
    return make(
      "details",
      { className: "best" },
      make("summary", {}, "Best of each station"),
      make(
        "div",
        { className: "row" },
        make("label", {}, "Channels ", codes),
        make("label", {}, "Locations ", locations),
        button("Select", () => this.#selectBest(codes.value, locations.value)),
      ),
    );
  }

  /** The channels that pass the facets. */
  get shown() {
    return this.#shown;
  }

  /** All channels that were found. */
  get found() {
    return this.#found;
  }

  /** Show other channels; of the ids in `selected`, those found are selected. */
  setFound(channels, selected = new Set()) {
    const ids = channels.map(({ id }) => id).filter((id) => selected.has(id));
    [this.#found, this.#chosen] = [channels, {}];
    this.selected.clear();
    for (const id of ids) this.selected.add(id);
    this.#render();
    this.#showSelection();
  }

  /** Select or deselect channels. */
  select(ids, isOn) {
    for (const id of ids) isOn ? this.selected.add(id) : this.selected.delete(id);
    this.#showSelection();
  }

  /** Mark the channels of a station; null marks none. */
  setHovered(code) {
    this.table.setHovered(code);
  }

  setBoxSelecting(isOn) {
    this.byBox.setAttribute("aria-pressed", isOn);
  }

  #selectShown(isOn) {
    this.select(
      this.#shown.map(({ id }) => id),
      isOn,
    );
  }

  #selectBest(codes, locations) {
    const best = bestOfStations(this.#shown, codes, locations).map(({ id }) => id);
    this.selected.clear();
    this.select(best, true);
    this.#app.notices.announce(
      `${counted(best.length, "channel")} selected, the best of each station.`,
    );
  }

  /** Invert the selection among the listed channels; that of the others stays. */
  #invert() {
    for (const { id } of this.#shown)
      this.selected.has(id) ? this.selected.delete(id) : this.selected.add(id);
    this.#showSelection();
  }

  #showSelection() {
    this.table.setSelected((id) => this.selected.has(id));
    this.#renderCounts();
    this.#on.onSelection(this.selected);
  }

  #renderCounts() {
    const [found, shown] = [this.#found, this.#shown];
    const all = countsOf(found);
    const few = shown.length < found.length ? ` (${grouped(shown.length)} listed)` : "";
    this.counts.replaceChildren(
      make("strong", {}, counted(all.channels, "channel")),
      few,
      ` of ${counted(all.stations, "station")} in ${counted(all.networks, "network")}`,
      make("span", { className: "chosen-count" }, `${grouped(this.selected.size)} selected`),
    );
    this.counts.hidden = !found.length;
  }

  #render() {
    const [found, now] = [this.#found, this.#app.now().getTime()];
    this.#shown = narrow(found, this.#chosen, now);
    const { column, isDescending } = this.table.order;
    this.table.setRows(sorted(this.#shown, column, isDescending));
    const options = facetsOf(found, this.#chosen, now);
    for (const name of Object.keys(this.facets)) this.#renderFacet(name, options[name]);
    this.body.hidden = !found.length;
    this.empty.hidden = found.length > 0;
    this.#renderCounts();
    this.#on.onShown(this.#shown);
  }

  #renderFacet(name, options) {
    const choice = this.facets[name];
    const all = options.reduce((sum, [, n]) => sum + n, 0);
    choice.replaceChildren(
      make("option", { value: "" }, `All (${grouped(all)})`),
      ...options.map(([value, n]) => make("option", { value }, `${value} (${grouped(n)})`)),
    );
    choice.value = this.#chosen[name] ?? "";
  }
}

function codeOf(channel) {
  return channel && `${channel.network}.${channel.station}`;
}
