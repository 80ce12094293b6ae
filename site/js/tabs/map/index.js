/** The tab Map: find channels, pick them, save them for a job. */

import { make } from "../../lib/dom.js";
import { counted } from "../../lib/format.js";
import { openStore } from "../../lib/store.js";
import { toChannels, summary } from "../../request/saved_channels.js";
import { queryRunner } from "./query_runner.js";
import { contains } from "./box.js";
import { isOpen, stationsOf } from "./channels.js";
import { openChart } from "./map_view.js";
import { filterForm } from "./filter_form.js";
import { stationFacts } from "./popup.js";
import { FILTERS } from "./query.js";
import { resultsCard } from "./results_card.js";
import { savedCard } from "./saved_channels_card.js";

/**
 * @param {HTMLElement} panel
 * @param {import("../../main.js").App} app
 */
export function mount(panel, app) {
  const window_ = openStore(
    () => sessionStorage,
    () => {},
  ); // what belongs to this window alone
  let [stations, saved, asked] = [[], new Set(), null];

  const form = filterForm(app.config.datacenters, {
    onQuery: ask,
    onCancel: () => runner.cancel(),
    onChange: remember,
    onDraw: drawArea,
  });
  const runner = queryRunner(form);
  const results = resultsCard(app, {
    onShown: showStations,
    onSelection: showSelection,
    onStation: (code) =>
      openStation(
        stations.find((station) => station.code === code),
        true,
      ),
    onHover: (code) => chart.setHovered(code),
    onSelectInArea: selectInArea,
    onBoxSelect: selectByBox,
  });
  const savedPart = savedCard(app, { onSave: save, onChange: showSaved });
  const place = make("div", { className: "chart-place" });
  panel.append(
    make("h2", { className: "hidden" }, "Map"),
    make("div", { className: "side stack" }, form.element, savedPart.element),
    make("div", { className: "wide" }, place, results.element),
  );
  const chart = openChart(place, app.config.basemaps, {
    onStation: (station) => openStation(station, false),
    onHover: (station) => results.setHovered(station?.code ?? null),
    onDrawEnd() {
      form.setDrawing(false);
      results.setBoxSelecting(false);
    },
    onTrouble: (text) => app.notices.show("basemap", text),
  });
  app.store.subscribe("theme", () => chart.restyle());
  results.setFound([]);
  savedPart.show();

  async function ask() {
    const query = form.check(true);
    if (!query)
      return form.setStatus("bad", make("p", {}, "Query not sent: correct the fields in red."));
    remember();
    const found = await runner.run(query);
    if (!found) return;
    asked = { query, centre: form.chosenCentre() };
    window_.set("asked", form.values());
    results.setFound(found, results.selected);
    chart.fit(stations);
    app.notices.say(`${counted(found.length, "channel")} found.`);
  }

  /** Keep the filters in the address and for the next visit. */
  function remember() {
    const values = form.values();
    app.store.set("query", values);
    app.tabs.setParams("map", values);
    chart.setArea(form.check(false)?.box ?? null);
  }

  function drawArea() {
    if (chart.drawing.isOn) return chart.drawing.stop();
    chart.drawing.start((box) => form.setBox(box));
    form.setDrawing(true);
  }

  function selectByBox() {
    if (chart.drawing.isOn) return chart.drawing.stop();
    chart.drawing.start(selectIn);
    results.setBoxSelecting(true);
  }

  function selectInArea() {
    const box = form.check(false)?.box;
    if (box) return selectIn(box);
    app.notices.show(
      "area",
      "No area is set: enter its four sides in the form, or draw it on the map.",
    );
    form.focus("north");
  }

  function selectIn(box) {
    const inside = results
      .shown()
      .filter((c) => contains(box, c.latitude, c.longitude))
      .map((c) => c.id);
    results.select(inside, true);
    app.notices.say(`${counted(inside.length, "channel")} in the box selected.`);
  }

  function showStations(channels) {
    stations = stationsOf(channels);
    chart.setStations(stations);
    showSelection(results.selected);
  }

  function showSelection(selected) {
    const now = app.now().getTime();
    chart.setStates((station) => {
      if (station.channels.some((c) => selected.has(c.id))) return "selected";
      if (station.channels.some((c) => saved.has(c.id))) return "saved";
      return station.channels.some((c) => isOpen(c, now)) ? "found" : "closed";
    });
    savedPart.setSelected(selected.size);
    if (asked) window_.set("selected", [...selected]);
  }

  function showSaved(channels) {
    saved = new Set(channels.map((c) => c.id));
    showSelection(results.selected);
  }

  function openStation(station, isByKey) {
    if (!station) return;
    const back = document.activeElement;
    const facts = stationFacts(station, {
      isSelected: (id) => results.selected.has(id),
      onSelect: results.select,
      centre: asked?.centre ?? form.chosenCentre(),
    });
    const close = chart.popup(station, facts, () => isByKey && back.focus());
    facts.addEventListener("keydown", (event) => event.key === "Escape" && close());
    if (isByKey) facts.querySelector("h3").focus();
  }

  function save(way) {
    const chosen = results.found().filter((c) => results.selected.has(c.id));
    const list = toChannels(chosen, asked.query, app.now().getTime(), asked.centre.name);
    const { longest } = summary(list);
    if (longest > app.limits.stations.max_days) {
      savedPart.tell(
        `Not saved: some of these channels span ${counted(longest, "day")}; a job has at most ${app.limits.stations.max_days}. ` +
          "Enter a start and an end, then query again.",
      );
      return form.focus("start");
    }
    savedPart.save(list, way);
    results.select([...results.selected], false); // so that the map shows what is saved
    app.notices.say(`${counted(list.length, "channel")} saved.`);
  }

  return {
    async open(params) {
      const isLink = FILTERS.some((name) => params.get(name));
      form.setValues(isLink ? Object.fromEntries(params) : (app.store.get("query") ?? {}));
      chart.setArea(form.check(false)?.box ?? null);
      // After a reload of this window, what was found is found again, and selected again.
      const before = window_.get("asked");
      if (asked || !before) return;
      form.setValues(before);
      const selected = new Set(window_.get("selected") ?? []);
      const query = form.check(false);
      const found = query && (await runner.run(query));
      if (!found) return;
      asked = { query, centre: form.chosenCentre() };
      results.setFound(found, selected);
      chart.fit(stations);
    },
  };
}
