/** The channels that are saved for a job: appended, replaced, cleared, downloaded, imported. */

import { button, download, make } from "../../lib/dom.js";
import { counted } from "../../lib/format.js";
import { problemText } from "../../request/csv_table.js";
import { appended, summary } from "../../request/saved_channels.js";
import { formatStations, parseStations, spanText } from "../../request/stations.js";
import { decode, importList } from "./import_channels.js";

const LISTED = 8; // problems of a list that are shown

export class SavedChannelsCard {
  #app;
  #on;
  #channels = [];

  /**
   * @param {Object} app
   * @param {{onSave: (way: "append"|"replace") => void, onChange: (channels: Object[]) => void}} on
   */
  constructor(app, on) {
    [this.#app, this.#on] = [app, on];
    this.counts = make("p", { role: "status" });
    this.append = button("Save selected", () => on.onSave("append"), { className: "primary" });
    this.replace = button("Replace", () => on.onSave("replace"), {
      title: "Replace all saved channels with the selected ones",
    });
    this.save = button(
      "Download stations.csv",
      () => download("stations.csv", app.store.get("stations")),
      { className: "plain" },
    );
    this.clear = button("Clear", () => this.#clear(), { className: "plain danger" });
    this.message = make("p", { className: "message", role: "alert", hidden: true });
    this.next = make("a", { className: "button", href: "#xcor" }, "Continue to XCor");
    this.next.addEventListener("click", (event) => {
      event.preventDefault();
      app.tabs.go("xcor");
    });
    this.dialog = new ImportDialog(app.limits, (list, way) => this.#import(list, way));
    this.element = this.#makeElement();
    app.store.subscribe("stations", () => this.render());
  }

  #makeElement() {
    const dialog = this.dialog.element;
    const open = button("Paste or upload", () => dialog.showModal(), { className: "plain" });
    return make(
      "section",
      { className: "card stack saved", ariaLabel: "Saved channels" },
      make("h2", {}, "Saved channels"),
      this.counts,
      make("div", { className: "row" }, this.append, this.replace, this.next),
      this.message,
      make("div", { className: "row" }, this.save, open, this.clear),
      dialog,
    );
  }

  /** Show the saved channels, which another window may have changed. */
  render() {
    this.#channels = this.#read();
    const isEmpty = !this.#channels.length;
    this.counts.replaceChildren(...(isEmpty ? [noChannels()] : countsOf(this.#channels)));
    for (const one of [this.save, this.clear]) one.hidden = isEmpty;
    this.#on.onChange(this.#channels);
  }

  /** Append channels to the saved ones, or replace all of these. */
  saveChannels(list, way) {
    // Another window may have changed the saved channels since they were shown.
    this.#write(way === "append" ? appended(this.#read(), list) : list);
    this.setMessage("");
  }

  setMessage(text, kind = "bad") {
    this.message.textContent = text;
    this.message.className = `message ${kind}`;
    this.message.hidden = !text;
  }

  /** Adapt the buttons to the number of selected channels. */
  setSelected(n) {
    const hasSaved = this.#channels.length > 0;
    this.append.disabled = this.replace.disabled = !n;
    this.append.textContent = n ? `Save ${counted(n, "selected channel")}` : "Save selected";
    this.append.hidden = !n && hasSaved;
    this.replace.hidden = !n || !hasSaved;
    this.next.hidden = n > 0 || !hasSaved;
  }

  #read() {
    const text = this.#app.store.get("stations");
    return text ? parseStations(text, this.#app.limits).channels : [];
  }

  #write(list) {
    this.#app.store.set("stations", list.length ? formatStations(list) : undefined);
  }

  #import(list, way) {
    this.#write(way === "append" ? appended(this.#read(), list) : list);
    this.#app.notices.announce(`${counted(list.length, "channel")} imported.`);
  }

  #clear() {
    const { store, limits, notices } = this.#app;
    const before = store.get("stations");
    this.#write([]);
    const n = parseStations(before, limits).channels.length;
    notices.show("cleared", `${counted(n, "saved channel")} cleared.`, {
      actions: { Undo: () => store.set("stations", before) },
    });
  }
}

function noChannels() {
  const text = "No channels yet. Select channels in the table or on the map, then save them.";
  return make("span", { className: "quiet" }, text);
}

function countsOf(channels) {
  const { stations, days, first, last } = summary(channels);
  return [
    make("strong", {}, counted(channels.length, "channel")),
    ` of ${counted(stations, "station")}, ${counted(days, "day")}`,
    make("br"),
    make("span", { className: "quiet small" }, spanText(first, last)),
  ];
}

/** A dialog that imports a list of channels, pasted or from a file. */
class ImportDialog {
  #limits;
  #onList;

  /** @param {(list: Object[], way: "append"|"replace") => void} onList */
  constructor(limits, onList) {
    [this.#limits, this.#onList] = [limits, onList];
    this.text = make("textarea", {
      id: "import-text",
      rows: 9,
      spellcheck: false,
      placeholder:
        "Network,Station,Location,Channel,StartDate,EndDate\nTA,I07A,,BHZ,2006-07-21T00:00:00,2007-04-15T17:00:00",
    });
    this.file = make("input", {
      id: "import-file",
      type: "file",
      accept: ".csv,.txt,text/csv,text/plain",
      onchange: () => this.#readFile(),
    });
    this.messages = make("div", { role: "alert" });
    this.element = make(
      "dialog",
      { ariaLabel: "Paste or upload a list of channels" },
      this.#makeBody(),
    );
  }

  #makeBody() {
    const label = (input, text) => make("label", { htmlFor: input.id }, text);
    return make(
      "div",
      { className: "stack" },
      make("h2", {}, "Paste or upload a list"),
      make(
        "p",
        { className: "quiet small" },
        "A stations.csv, lines of NET STA LOC CHA START END, or a BREQ_FAST request.",
      ),
      make("div", { className: "field" }, label(this.file, "File"), this.file),
      make("div", { className: "field" }, label(this.text, "Channels"), this.text),
      this.messages,
      make(
        "div",
        { className: "row" },
        button("Append", () => this.#import("append"), { className: "primary" }),
        button("Replace saved", () => this.#import("replace")),
        button("Cancel", () => this.element.close(), { className: "plain push" }),
      ),
    );
  }

  async #readFile() {
    const [file] = this.file.files;
    if (!file) return;
    const most = this.#limits.stations.max_bytes;
    try {
      if (file.size > most) throw new SyntaxError(`is larger than ${most} bytes`);
      this.text.value = decode(await file.arrayBuffer());
      this.#setMessages([]);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      this.#setMessages([`${file.name} ${error.message}`]);
    }
  }

  #import(way) {
    const { channels, problems } = importList(this.text.value, this.#limits);
    this.#setMessages(problems.map(problemText));
    if (problems.length) {
      this.text.focus();
      return;
    }
    this.#onList(channels, way);
    this.text.value = this.file.value = "";
    this.element.close();
  }

  #setMessages(texts) {
    const shown = texts.slice(0, LISTED);
    if (texts.length > LISTED) shown.push(`and ${texts.length - LISTED} more`);
    const list = make("ul", { className: "error" }, ...shown.map((text) => make("li", {}, text)));
    this.messages.replaceChildren(
      ...(shown.length ? [make("p", { className: "bad" }, "Nothing was imported:"), list] : []),
    );
  }
}
