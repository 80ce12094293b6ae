/** The channels that are saved for a job: added to, replaced, cleared, downloaded, brought along. */

import { button, download, make } from "../../lib/dom.js";
import { problemText } from "../../request/csv_table.js";
import { counted } from "../../lib/format.js";
import { appended, summary } from "../../request/saved_channels.js";
import { formatStations, parseStations, spanWords } from "../../request/stations.js";
import { decode, importList } from "./import_channels.js";

const LISTED = 8; // problems that are shown of a list

/**
 * @param {Object} app
 * @param {{onSave: (way: "append"|"replace") => void, onChange: (channels: Object[]) => void}} on
 */
export function savedCard(app, on) {
  let channels = [];
  const counts = make("p", { role: "status" });
  const append = button("Save selected", () => on.onSave("append"), { className: "primary" });
  const replace = button("Replace", () => on.onSave("replace"), {
    title: "Replace all saved channels with the selected ones",
  });
  const take = button(
    "Download stations.csv",
    () => download("stations.csv", app.store.get("stations")),
    { className: "plain" },
  );
  const clear = button("Clear", clearAll, { className: "plain danger" });
  const told = make("p", { className: "message", role: "alert", hidden: true });
  const next = make("a", { className: "button", href: "#xcor" }, "Continue to XCor");
  const bring = importDialog(app, (list, way) => {
    set(way === "append" ? appended(read(), list) : list);
    app.notices.say(`${counted(list.length, "channel")} imported.`);
  });
  const element = make(
    "section",
    { className: "card stack saved", ariaLabel: "Saved channels" },
    make("h2", {}, "Saved channels"),
    counts,
    make("div", { className: "row" }, append, replace, next),
    told,
    make(
      "div",
      { className: "row" },
      take,
      button("Paste or upload", () => bring.showModal(), { className: "plain" }),
      clear,
    ),
    bring,
  );
  next.addEventListener("click", (event) => {
    event.preventDefault();
    app.tabs.go("xcor");
  });

  /** What is stored, from this window or another. */
  function read() {
    const text = app.store.get("stations");
    return text ? parseStations(text, app.limits).channels : [];
  }

  function set(list) {
    app.store.set("stations", list.length ? formatStations(list) : undefined);
  }

  function clearAll() {
    const before = app.store.get("stations");
    set([]);
    app.notices.show("cleared", `${counted(channelsIn(before), "saved channel")} cleared.`, {
      actions: { Undo: () => app.store.set("stations", before) },
    });
  }

  function channelsIn(text) {
    return parseStations(text, app.limits).channels.length;
  }

  function show() {
    channels = read();
    const { stations, days, first, last } = summary(channels);
    counts.replaceChildren(
      ...(channels.length
        ? [
            make("strong", {}, counted(channels.length, "channel")),
            ` of ${counted(stations, "station")}, ${counted(days, "day")}`,
            make("br"),
            make("span", { className: "quiet small" }, spanWords(first, last)),
          ]
        : [
            make(
              "span",
              { className: "quiet" },
              "No channels yet. Select channels in the table or on the map, then save them.",
            ),
          ]),
    );
    for (const one of [take, clear]) one.hidden = !channels.length;
    on.onChange(channels);
  }

  app.store.subscribe("stations", show);
  return {
    element,
    show,
    /** Add channels, or put them in the place of all. */
    save(list, way) {
      // Read anew: another window may have saved meanwhile.
      set(way === "append" ? appended(read(), list) : list);
      this.tell("");
    },
    tell(text, kind = "bad") {
      told.textContent = text;
      told.className = `message ${kind}`;
      told.hidden = !text;
    },
    setSelected(n) {
      append.disabled = replace.disabled = !n;
      append.textContent = n ? `Save ${counted(n, "selected channel")}` : "Save selected";
      append.hidden = !n && channels.length > 0;
      replace.hidden = !n || !channels.length;
      next.hidden = n > 0 || !channels.length;
    },
  };
}

/** A dialog that takes a list of channels, pasted or from a file. */
function importDialog(app, onList) {
  const text = make("textarea", {
    id: "import-text",
    rows: 9,
    spellcheck: false,
    placeholder:
      "Network,Station,Location,Channel,StartDate,EndDate\nTA,I07A,,BHZ,2006-07-21T00:00:00,2007-04-15T17:00:00",
  });
  const file = make("input", {
    id: "import-file",
    type: "file",
    accept: ".csv,.txt,text/csv,text/plain",
  });
  const problems = make("ul", { className: "error" });
  const told = make("div", { role: "alert" });
  const dialog = make("dialog", { ariaLabel: "Paste or upload a list of channels" });
  file.addEventListener("change", async () => {
    const [one] = file.files;
    if (!one) return;
    try {
      if (one.size > app.limits.stations.max_bytes)
        throw new SyntaxError(`is larger than ${app.limits.stations.max_bytes} bytes`);
      text.value = decode(await one.arrayBuffer());
      tell([]);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      tell([`${one.name} ${error.message}`]);
    }
  });

  function tell(sentences) {
    problems.replaceChildren(...sentences.slice(0, LISTED).map((one) => make("li", {}, one)));
    if (sentences.length > LISTED)
      problems.append(make("li", {}, `and ${sentences.length - LISTED} more`));
    told.replaceChildren(
      ...(sentences.length
        ? [make("p", { className: "bad" }, "Nothing was imported:"), problems]
        : []),
    );
  }

  const take = (way) => () => {
    const { channels, problems: wrong } = importList(text.value, app.limits);
    tell(wrong.map(problemText));
    if (wrong.length) return text.focus();
    onList(channels, way);
    text.value = file.value = "";
    dialog.close();
  };
  dialog.append(
    make(
      "div",
      { className: "stack" },
      make("h2", {}, "Paste or upload a list"),
      make(
        "p",
        { className: "quiet small" },
        "A stations.csv, lines of NET STA LOC CHA START END, or a BREQ_FAST request.",
      ),
      make("div", { className: "field" }, make("label", { htmlFor: "import-file" }, "File"), file),
      make(
        "div",
        { className: "field" },
        make("label", { htmlFor: "import-text" }, "Channels"),
        text,
      ),
      told,
      make(
        "div",
        { className: "row" },
        button("Append", take("append"), { className: "primary" }),
        button("Replace saved", take("replace")),
        button("Cancel", () => dialog.close(), { className: "plain push" }),
      ),
    ),
  );
  return dialog;
}
