/** A table of channels, a page at a time: sorted by its heads, chosen by its boxes. */

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

/**
 * @param {{onSort: (column: string, isDescending: boolean) => void,
 *     onSelect: (ids: string[], isOn: boolean) => void, onAll: (isOn: boolean) => void,
 *     onStation: (channel: Object) => void, onHover: (channel: Object|null) => void}} on
 */
export function channelTable(on) {
  let [rows, first, last, order] = [[], 0, null, { column: "network", isDescending: false }];
  let isSelected = () => false;
  const heads = Object.entries(HEADS).map(([name, text]) => {
    const sort = () => {
      order = { column: name, isDescending: order.column === name && !order.isDescending };
      on.onSort(order.column, order.isDescending);
    };
    return make(
      "th",
      { scope: "col", className: NUMBERS.includes(name) ? "number" : "", "data-column": name },
      button(text, sort),
    );
  });
  const all = make("input", {
    type: "checkbox",
    ariaLabel: "Select all listed channels",
    onchange: () => on.onAll(all.checked),
  });
  const body = make("tbody");
  const table = make(
    "table",
    { className: "data" },
    make("caption", { className: "hidden" }, "Channels found"),
    make(
      "thead",
      {},
      make("tr", {}, make("th", { scope: "col" }, make("span", {}, all)), ...heads),
    ),
    body,
  );
  const place = make("span", { className: "small quiet" });
  const turn = (pages) => () => {
    first = Math.max(
      0,
      Math.min(first + pages * PAGE, Math.floor((rows.length - 1) / PAGE) * PAGE),
    );
    draw();
    scroll.scrollTop = 0;
  };
  const back = button("Previous", turn(-1), { className: "plain" });
  const forth = button("Next", turn(1), { className: "plain" });
  const pager = make(
    "nav",
    { className: "row pager", ariaLabel: "Pages of the table" },
    place,
    make("span", { className: "push" }),
    back,
    forth,
  );
  const scroll = make(
    "div",
    { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "Table of channels" },
    table,
  );

  function draw() {
    const shown = rows.slice(first, first + PAGE);
    body.replaceChildren(...shown.map(line));
    for (const head of heads) {
      const isIt = head.dataset.column === order.column;
      if (isIt) head.ariaSort = order.isDescending ? "descending" : "ascending";
      else head.removeAttribute("aria-sort");
    }
    place.textContent =
      rows.length > PAGE
        ? `Rows ${grouped(first + 1)} to ${grouped(first + shown.length)} of ${grouped(rows.length)}`
        : "";
    pager.hidden = rows.length <= PAGE;
    back.disabled = first === 0;
    forth.disabled = first + PAGE >= rows.length;
    drawSelection();
  }

  function line(channel) {
    const box = make("input", { type: "checkbox", ariaLabel: `Select ${channel.id}` });
    box.addEventListener("click", (event) => choose(channel, box.checked, event.shiftKey));
    const station = button(channel.station, () => on.onStation(channel), {
      className: "plain",
      ariaLabel: `Show ${channel.network}.${channel.station} on the map`,
    });
    const end = channel.epochs.at(-1).end;
    const cells = [
      channel.network,
      station,
      channel.location || "--",
      channel.channel,
      ...[
        fixed(channel.latitude, 4),
        fixed(channel.longitude, 4),
        fixed(channel.elevation, 0),
        channel.sampleRate ?? "",
      ],
      formatTime(channel.epochs[0].start).slice(0, 10),
      end === null ? "open" : formatTime(end).slice(0, 10),
    ];
    const names = Object.keys(HEADS);
    const row = make(
      "tr",
      { "data-id": channel.id },
      make("td", {}, box),
      ...cells.map((cell, k) =>
        make("td", { className: NUMBERS.includes(names[k]) ? "number" : "" }, cell),
      ),
    );
    row.addEventListener("mouseenter", () => on.onHover(channel));
    row.addEventListener("mouseleave", () => on.onHover(null));
    return row;
  }

  /** A click on a box; with shift, all from the last one clicked to this one. */
  function choose(channel, isOn, isRange) {
    const here = rows.indexOf(channel);
    const from = isRange && last !== null ? Math.min(last, here) : here;
    const to = isRange && last !== null ? Math.max(last, here) : here;
    last = here;
    on.onSelect(
      rows.slice(from, to + 1).map((c) => c.id),
      isOn,
    );
  }

  function drawSelection() {
    for (const row of body.rows) {
      const isOn = isSelected(row.dataset.id);
      row.classList.toggle("chosen", isOn);
      row.cells[0].firstChild.checked = isOn;
    }
    const n = rows.filter((c) => isSelected(c.id)).length;
    all.checked = n > 0 && n === rows.length;
    all.indeterminate = n > 0 && n < rows.length;
    all.disabled = !rows.length;
  }

  return {
    element: make("div", { className: "listing" }, scroll, pager),
    order: () => order,
    setRows(channels) {
      [rows, first, last] = [channels, 0, null];
      draw();
    },
    setSelected(is) {
      isSelected = is;
      drawSelection();
    },
    setHovered(code) {
      for (const row of body.rows)
        row.classList.toggle("hovered", code !== null && row.dataset.id.startsWith(`${code}.`));
    },
  };
}

function fixed(value, digits) {
  return value === null ? "" : value.toFixed(digits);
}
