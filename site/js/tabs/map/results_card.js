/** What was found: how it is narrowed, ordered and selected. */

import { button, download, make } from "../../lib/dom.js";
import { grouped } from "../../lib/python_numbers.js";
import { counted } from "../../lib/format.js";
import { countsOf, toGeoJson } from "./channels.js";
import { bestOfStations, FACETS, facetsOf, narrow, sorted } from "./facets.js";
import { channelTable } from "./channel_table.js";

const TITLES = {
  network: "Network",
  band: "Band",
  component: "Component",
  location: "Location",
  rate: "Rate",
  state: "State",
};

/**
 * @param {{now: () => Date, notices: Object}} app
 * @param {{onShown: (channels: Object[]) => void, onSelection: (ids: Set<string>) => void,
 *     onStation: (code: string) => void, onHover: (code: string|null) => void,
 *     onSelectInArea: () => void, onBoxSelect: () => void}} on
 */
export function resultsCard(app, on) {
  let [found, shown, chosen] = [[], [], {}];
  const selected = new Set();
  const codeOf = (channel) => channel && `${channel.network}.${channel.station}`;
  const table = channelTable({
    onSort: () => show(),
    onSelect: select,
    onAll: (isOn) =>
      select(
        shown.map((c) => c.id),
        isOn,
      ),
    onStation: (channel) => on.onStation(codeOf(channel)),
    onHover: (channel) => on.onHover(codeOf(channel)),
  });
  const counts = make("p", { className: "counts", role: "status" });
  const facets = Object.fromEntries(Object.keys(FACETS).map((name) => [name, facetChoice(name)]));
  const inArea = button("In the area", () => on.onSelectInArea(), {
    title: "Select channels within the area of the form",
  });
  const byBox = button("Draw a box", () => on.onBoxSelect(), { ariaPressed: "false" });
  const tools = make(
    "div",
    { className: "row tools" },
    make("span", { className: "label" }, "Select"),
    button("All", () =>
      select(
        shown.map((c) => c.id),
        true,
      ),
    ),
    button("None", () => select([...selected], false)),
    button("Invert", invert),
    inArea,
    byBox,
    bestChoice(),
    button(
      "GeoJSON",
      () => download("stations.geojson", toGeoJson(shown), "application/geo+json"),
      { className: "plain push", title: "Download the listed stations" },
    ),
  );
  const body = make(
    "div",
    { className: "results-body" },
    make(
      "div",
      { className: "row facets" },
      ...Object.values(facets).map(({ element }) => element),
    ),
    tools,
    table.element,
  );
  const empty = make(
    "p",
    { className: "empty" },
    "Enter a network, a station or an area on the left, then press Query. Results appear here and on the map.",
  );
  const element = make(
    "section",
    { className: "card results", ariaLabel: "Channels found" },
    counts,
    empty,
    body,
  );

  function facetChoice(name) {
    const choice = make("select", {
      onchange: () => {
        chosen = { ...chosen, [name]: choice.value };
        show();
      },
    });
    return {
      element: make("label", { className: "facet" }, make("span", {}, TITLES[name]), choice),
      choice,
    };
  }

  function bestChoice() {
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
    const take = () => {
      const best = bestOfStations(shown, codes.value, locations.value).map((c) => c.id);
      selected.clear();
      select(best, true);
      app.notices.say(`${counted(best.length, "channel")} selected, the best of each station.`);
    };
    return make(
      "details",
      { className: "best" },
      make("summary", {}, "Best of each station"),
      make(
        "div",
        { className: "row" },
        make("label", {}, "Channels ", codes),
        make("label", {}, "Locations ", locations),
        button("Select", take),
      ),
    );
  }

  function select(ids, isOn) {
    for (const id of ids) isOn ? selected.add(id) : selected.delete(id);
    changed();
  }

  /** What is listed and was not selected; what is not listed stays as it is. */
  function invert() {
    for (const { id } of shown) selected.has(id) ? selected.delete(id) : selected.add(id);
    changed();
  }

  function changed() {
    table.setSelected((id) => selected.has(id));
    count();
    on.onSelection(selected);
  }

  function count() {
    const all = countsOf(found);
    const few = shown.length < found.length ? ` (${grouped(shown.length)} listed)` : "";
    counts.replaceChildren(
      make("strong", {}, counted(all.channels, "channel")),
      few,
      ` of ${counted(all.stations, "station")} in ${counted(all.networks, "network")}`,
      make("span", { className: "chosen-count" }, `${grouped(selected.size)} selected`),
    );
    counts.hidden = !found.length;
  }

  function show() {
    const now = app.now().getTime();
    shown = narrow(found, chosen, now);
    const { column, isDescending } = table.order();
    table.setRows(sorted(shown, column, isDescending));
    const options = facetsOf(found, chosen, now);
    for (const [name, { choice }] of Object.entries(facets)) {
      const value = chosen[name] ?? "";
      const all = options[name].reduce((sum, [, n]) => sum + n, 0);
      choice.replaceChildren(
        make("option", { value: "" }, `All (${grouped(all)})`),
        ...options[name].map(([one, n]) =>
          make("option", { value: one }, `${one} (${grouped(n)})`),
        ),
      );
      choice.value = value;
    }
    body.hidden = !found.length;
    empty.hidden = found.length > 0;
    count();
    on.onShown(shown);
  }

  return {
    element,
    selected,
    select,
    shown: () => shown,
    found: () => found,
    /** Show other channels; what was selected stays so where it is found again. */
    setFound(channels, keep = new Set()) {
      found = channels;
      chosen = {};
      selected.clear();
      for (const { id } of channels) if (keep.has(id)) selected.add(id);
      show();
      changed();
    },
    setHovered: table.setHovered,
    setBoxSelecting: (isOn) => byBox.setAttribute("aria-pressed", isOn),
  };
}
