/** The tab Map: find channels, select them, save them for a job. */

import { make } from "../../lib/dom.js";
import { counted } from "../../lib/format.js";
import { Store } from "../../lib/store.js";
import { summary } from "../../request/saved_channels.js";
import { contains } from "./box.js";
import { isOpen, stationsOf, toChannels } from "./channels.js";
import { FilterForm } from "./filter_form.js";
import { MapView } from "./map_view.js";
import { stationFacts } from "./popup.js";
import { FILTERS } from "./query.js";
import { QueryRunner } from "./query_runner.js";
import { ResultsCard } from "./results_card.js";
import { SavedChannelsCard } from "./saved_channels_card.js";

/**
 * @param {HTMLElement} panel
 * @param {import("../../main.js").App} app
 */
export function mount(panel, app) {
  return new MapTab(panel, app);
}

class MapTab {
  #app;
  #sessionStore = new Store(
    () => sessionStorage,
    () => {},
  ); // state of this window alone
  #stations = []; // on the map
  #saved = new Set(); // ids
  #answered = null; // the query whose channels are shown, and its data centre

  constructor(panel, app) {
    this.#app = app;
    this.form = this.#makeForm();
    this.runner = new QueryRunner(this.form);
    this.results = this.#makeResults();
    this.savedCard = new SavedChannelsCard(app, {
      onSave: (way) => this.#save(way),
      onChange: (channels) => this.#showSaved(channels),
    });
    const place = make("div", { className: "chart-place" });
    panel.append(
      make("h2", { className: "hidden" }, "Map"),
      make("div", { className: "side stack" }, this.form.element, this.savedCard.element),
      make("div", { className: "wide" }, place, this.results.element),
    );
    this.map = this.#makeMap(place);
    app.store.subscribe("theme", () => this.map.restyle());
    this.results.setFound([]);
    this.savedCard.render();
  }

  #makeForm() {
    return new FilterForm(this.#app.config.datacenters, {
      onQuery: () => this.#query(),
      onCancel: () => this.runner.cancel(),
      onChange: () => this.#storeFilters(),
      onDraw: () => this.#drawArea(),
    });
  }

  #makeResults() {
    return new ResultsCard(this.#app, {
      onShown: (channels) => this.#showStations(channels),
      onSelection: () => this.#showSelection(),
      onStation: (code) =>
        this.#openStation(
          this.#stations.find((s) => s.code === code),
          true,
        ),
      onHover: (code) => this.map.setHovered(code),
      onSelectInArea: () => this.#selectInArea(),
      onBoxSelect: () => this.#selectByBox(),
    });
  }

  #makeMap(place) {
    return new MapView(place, this.#app.config.basemaps, {
      onStation: (station) => this.#openStation(station, false),
      onHover: (station) => this.results.setHovered(station?.code ?? null),
      onDrawEnd: () => {
        this.form.setDrawing(false);
        this.results.setBoxSelecting(false);
      },
      onTrouble: (text) => this.#app.notices.show("basemap", text),
    });
  }

  /** Show the filters of the address; after a reload of this window, query again. */
  async open(params) {
    const isLink = FILTERS.some((name) => params.get(name));
    this.form.setValues(isLink ? Object.fromEntries(params) : (this.#app.store.get("query") ?? {}));
    this.#showArea();
    const before = this.#sessionStore.get("asked");
    if (this.#answered || !before) return;
    this.form.setValues(before);
    const selected = new Set(this.#sessionStore.get("selected") ?? []);
    const query = this.form.validate(false);
    const found = query && (await this.runner.run(query));
    if (found) this.#showFound(found, query, selected);
  }

  async #query() {
    const query = this.form.validate(true);
    if (!query) {
      this.form.setStatus("bad", make("p", {}, "Query not sent: correct the fields in red."));
      return;
    }
    this.#storeFilters();
    const found = await this.runner.run(query);
    if (!found) return;
    this.#sessionStore.set("asked", this.form.values());
    this.#showFound(found, query, new Set(this.results.selected));
    this.#app.notices.announce(`${counted(found.length, "channel")} found.`);
  }

  #showFound(found, query, selected) {
    this.#answered = { query, centre: this.form.chosenCentre };
    this.results.setFound(found, selected);
    this.map.fit(this.#stations);
  }

  /** Keep the filters in the address and for the next visit. */
  #storeFilters() {
    const values = this.form.values();
    this.#app.store.set("query", values);
    this.#app.tabs.setParams("map", values);
    this.#showArea();
  }

  #showArea() {
    this.map.setArea(this.form.validate(false)?.box ?? null);
  }

  #drawArea() {
    const { drawing } = this.map;
    if (drawing.isOn) {
      drawing.stop();
      return;
    }
    drawing.start((box) => this.form.setBox(box));
    this.form.setDrawing(true);
  }

  #selectByBox() {
    const { drawing } = this.map;
    if (drawing.isOn) {
      drawing.stop();
      return;
    }
    drawing.start((box) => this.#selectIn(box));
    this.results.setBoxSelecting(true);
  }

  #selectInArea() {
    const box = this.form.validate(false)?.box;
    if (box) {
      this.#selectIn(box);
      return;
    }
    this.#app.notices.show(
      "area",
      "No area is set: enter its four sides in the form, or draw it on the map.",
    );
    this.form.focus("north");
  }

  #selectIn(box) {
    const inside = this.results.shown
      .filter((c) => contains(box, c.latitude, c.longitude))
      .map((c) => c.id);
    this.results.select(inside, true);
    this.#app.notices.announce(`${counted(inside.length, "channel")} in the box selected.`);
  }

  #showStations(channels) {
    this.#stations = stationsOf(channels);
    this.map.setStations(this.#stations);
    this.#showSelection();
  }

  #showSelection() {
    const { selected } = this.results;
    const now = this.#app.now().getTime();
    this.map.setStates(({ channels }) => {
      if (channels.some((c) => selected.has(c.id))) return "selected";
      if (channels.some((c) => this.#saved.has(c.id))) return "saved";
      return channels.some((c) => isOpen(c, now)) ? "found" : "closed";
    });
    this.savedCard.setSelected(selected.size);
    if (this.#answered) this.#sessionStore.set("selected", [...selected]);
  }

  #showSaved(channels) {
    this.#saved = new Set(channels.map((c) => c.id));
    this.#showSelection();
  }

  /** Open the popup of a station; one that the keyboard opened takes the focus and returns it. */
  #openStation(station, isByKey) {
    if (!station) return;
    const focused = document.activeElement;
    const facts = stationFacts(station, {
      isSelected: (id) => this.results.selected.has(id),
      onSelect: (ids, isOn) => this.results.select(ids, isOn),
      centre: this.#answered?.centre ?? this.form.chosenCentre,
    });
    const close = this.map.popup(station, facts, () => isByKey && focused.focus());
    facts.addEventListener("keydown", (event) => event.key === "Escape" && close());
    if (isByKey) facts.querySelector("h3").focus();
  }

  #save(way) {
    const { results, savedCard } = this;
    const { query, centre } = this.#answered;
    const now = this.#app.now().getTime();
    const chosen = results.found.filter((c) => results.selected.has(c.id));
    const list = toChannels(chosen, query, now, centre.name);
    const { longest } = summary(list);
    const most = this.#app.limits.stations.max_days;
    if (longest > most) {
      savedCard.setMessage(
        `Not saved: some of these channels span ${counted(longest, "day")}; a job has at most ${most}. ` +
          "Enter a start and an end, then query again.",
      );
      this.form.focus("start");
      return;
    }
    savedCard.saveChannels(list, way);
    results.select([...results.selected], false); // the map then shows the saved channels
    this.#app.notices.announce(`${counted(list.length, "channel")} saved.`);
  }
}
