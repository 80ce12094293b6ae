/** Explore: the list of pairs, and beside it a plot of one pair or of many pairs by distance. */

import { button, download, make } from "../../lib/dom.js";
import { counted, number, sentence, size } from "../../lib/format.js";
import { Correlogram } from "../../plot/correlogram.js";
import { RecordSection } from "../../plot/record_section.js";
import { gatherOf, thinned, traceCsv } from "../../plot/traces.js";
import { channelsOf } from "../../results/pair_table.js";
import { daysWithin, MOST_TRACES } from "../../results/results.js";
import { ExploreControls } from "./explore_controls.js";
import { PairTableView } from "./pair_table_view.js";

const HINT = "Point at the plot, or use the arrow keys, to read values.";
const SLOW = 250; // ms of loading after which a message is shown

export class ExploreView {
  #app;
  #onState;
  #results = null;
  #stack = null;
  #pairs = [];
  #pair = null;
  #shown = null; // the data in the plot
  #loading = new AbortController();

  /**
   * @param {import("../../main.js").App} app
   * @param {(changes: Object) => void} onState  called with the changes for the address
   */
  constructor(app, onState) {
    [this.#app, this.#onState] = [app, onState];
    this.controls = new ExploreControls({
      onStack: (title) => this.#useStack(title),
      onAddress: (changes) => (onState(changes), this.#redraw()),
      onRedraw: () => this.#redraw(),
      onRestyle: () => this.#restyle(),
    });
    this.table = new PairTableView({ onChoose: (pair) => this.#choosePair(pair) });
    this.title = make("h3");
    this.note = make("p", { className: "small quiet" });
    this.message = make("p", { className: "message", role: "status" });
    this.plots = this.#makePlots();
    this.element = make(
      "div",
      { className: "explore" },
      make("div", { className: "card" }, this.table.element),
      make(
        "div",
        { className: "card stack" },
        this.controls.element,
        this.title,
        this.message,
        this.plots,
      ),
    );
    this.#setMessage("");
  }

  #makePlots() {
    [this.correlogram, this.section] = [new Correlogram(), new RecordSection()];
    for (const plot of [this.correlogram, this.section]) plot.setHint(HINT);
    this.csv = button("Save trace as CSV", () => this.#saveTrace());
    this.file = make("a", { className: "button", download: "" }, "HDF5 file");
    return make(
      "div",
      { className: "stack plots" },
      this.correlogram.element,
      this.section.element,
      this.note,
      make(
        "div",
        { className: "row no-print" },
        button("Save image", () => this.#savePicture()),
        this.csv,
        this.file,
      ),
    );
  }

  /** Show the results of a job. */
  show(results) {
    [this.#results, this.#shown] = [results, null];
    this.controls.setStacks(results.stacks, ({ title, file }) => `${title} (${size(file.size)})`);
    return this.#useStack(results.stacks[0]?.title);
  }

  /** Show another view of the same job, as the address has it. */
  applyUrl(params) {
    const { channel, kind } = this.controls;
    const before = [this.#pair?.name, channel.value, kind.value];
    this.#readUrl(params);
    const after = [this.#pair?.name, channel.value, kind.value];
    if (after.some((value, k) => value !== before[k])) this.#redraw();
  }

  /** Pairs and channels of the job, and those that are plotted; for the request of a stack. */
  get selection() {
    return {
      pairs: new Set(this.#pairs.map(({ name }) => name)),
      channels: new Set(channelsOf(this.#pairs).map(({ id }) => id)),
      pair: this.#pair,
      channel: this.controls.channel.value,
    };
  }

  #readUrl(params) {
    this.#pair = this.#pairs.find((one) => one.name === params.get("pair")) ?? this.#pair;
    this.controls.applyUrl(params, this.#pair?.first);
  }

  async #useStack(name) {
    const { stacks } = this.#results;
    this.#stack = stacks.find(({ title }) => title === name) ?? stacks[0];
    [this.#pairs, this.#pair] = [[], null];
    this.table.setPairs([]);
    this.#hidePlots(true);
    this.file.href = this.#results.url(this.#stack.file);
    await this.#attempt("Loading the pairs ...", async () => {
      this.#pairs = await this.#results.pairs(this.#stack);
      this.table.setPairs(this.#pairs);
      this.#pair = this.table.shown[0] ?? null;
      this.controls.setChannels(
        channelsOf(this.#pairs),
        this.#stack.stack.shape.length === 3, // (pair, interval, lag)
      );
      this.#readUrl(this.#app.tabs.params("stacking"));
    });
    if (this.#pairs.length) this.#redraw();
  }

  #hidePlots(isHidden) {
    for (const part of [this.title, this.plots, this.controls.element]) part.hidden = isHidden;
  }

  #choosePair(pair) {
    this.#pair = pair;
    this.controls.kind.value = "windows";
    this.#onState({ pair: pair.name, plot: "windows" });
    this.#redraw();
  }

  async #redraw() {
    if (!this.#stack || !this.#pairs.length) return;
    const { isOnePair } = this.controls;
    this.#hidePlots(false);
    this.controls.showFields();
    this.correlogram.element.hidden = !isOnePair;
    this.section.element.hidden = isOnePair;
    this.table.mark(isOnePair && this.#pair ? this.#pair.name : "");
    this.csv.hidden = !isOnePair;
    this.#shown = null;
    this.plots.setAttribute("aria-busy", "true");
    if (isOnePair) await this.#drawPair();
    else await this.#drawSection();
  }

  async #drawPair() {
    if (!this.#pair) return;
    const { first, second, distance, snr, lag, n_windows } = this.#pair;
    this.title.textContent = `${first} to ${second}`;
    this.note.textContent = `${number(distance)} km · SNR ${number(snr, 1)} · peak at ${number(lag)} s · ${counted(n_windows, "window")} · at positive lags the wave reaches ${second} after ${first}`;
    this.correlogram.setLabel(
      `Correlogram of ${first} and ${second}: lag against time. Arrow keys read values.`,
    );
    const loaded = await this.#attempt("Loading the windows ...", (signal, showProgress) =>
      this.#loadPair(this.#pair, signal, showProgress),
    );
    this.#showData(loaded, this.correlogram, loaded?.columns);
    if (loaded?.missing)
      this.#setMessage(`The windows cannot be shown: ${loaded.missing}`, { isBad: true });
  }

  /** Stack and rows of a pair; without rows, `missing` has the reason. */
  async #loadPair(pair, signal, showProgress) {
    const isOfIntervals = this.controls.source.value === "intervals";
    const [{ fs }, [stack]] = await Promise.all([
      this.#results.axes(this.#stack),
      this.#results.traces(this.#stack, [{ pair }], signal),
    ]);
    const load = isOfIntervals
      ? this.#results.intervals(this.#stack, pair, signal)
      : this.#loadWindows(pair, signal, showProgress);
    // The stack is shown though its windows are missing.
    const rows = await load.catch((error) => {
      if (signal.aborted) throw error;
      const none = { values: new Float32Array(0), columns: stack.length, times: [] };
      return { ...none, missing: error.message };
    });
    return { ...rows, stack, fs, rowName: isOfIntervals ? "Interval" : "Window" };
  }

  async #loadWindows(pair, signal, showProgress) {
    const correlations = await this.#results.correlations(signal);
    const days = await correlations.days();
    if (!this.controls.day.options.length) this.controls.setDays(loadableParts(days));
    const [first, count] = this.controls.daysOf(days.length);
    this.controls.showDays(true);
    return correlations.windows(pair.name, days.slice(first, first + count), {
      signal,
      onDay: (done, all) => all > 4 && showProgress(`Loading the windows: ${done} of ${all} days`),
    });
  }

  async #drawSection() {
    const { isGather, channel, distanceLimits } = this.controls;
    const [low, high] = distanceLimits;
    const near = this.#pairs.filter(({ distance }) => !(distance < low) && !(distance > high));
    const all = gatherOf(near, isGather ? channel.value : "");
    const columns = this.#results.traceOf(this.#stack).shape.at(-1);
    const gather = thinned(all, Math.floor(MOST_TRACES / (4 * columns)));
    this.title.textContent = isGather
      ? `Virtual source gather of ${channel.value}`
      : "Record section of all pairs";
    this.note.textContent = sectionNote(isGather, gather.length, all.length);
    this.section.setLabel(
      `${this.title.textContent}: lag against distance. Arrow keys read values.`,
    );
    const loaded = await this.#attempt("Loading the traces ...", (signal) =>
      this.#loadGather(gather, signal),
    );
    this.#showData(loaded, this.section, columns);
  }

  async #loadGather(gather, signal) {
    const [{ fs }, traces] = await Promise.all([
      this.#results.axes(this.#stack),
      this.#results.traces(this.#stack, gather, signal),
    ]);
    const named = gather.map(({ pair: { distance }, name }, k) => ({
      trace: traces[k],
      distance,
      name,
    }));
    return { fs, traces: named };
  }

  /** Plot loaded data; undefined: a later request replaced it, null: loading failed. */
  #showData(loaded, plot, columns) {
    if (loaded === undefined) return;
    this.#shown = loaded;
    this.plots.setAttribute("aria-busy", "false");
    if (!loaded) {
      plot.clear();
      return;
    }
    this.controls.setLagLimit((columns - 1) / 2 / loaded.fs);
    this.#restyle();
  }

  /** Plot the loaded data in another style. */
  #restyle() {
    if (!this.#shown) return;
    const plot = this.controls.isOnePair ? this.correlogram : this.section;
    plot.show(this.#shown, this.controls.style);
  }

  /** Load data; returns null where it failed, undefined where a later attempt replaced it. */
  async #attempt(text, load) {
    this.#loading.abort();
    const mine = (this.#loading = new AbortController());
    const showProgress = (words) => mine === this.#loading && this.#setMessage(words);
    const slow = setTimeout(showProgress, SLOW, text);
    try {
      const done = await load(mine.signal, showProgress);
      if (mine !== this.#loading) return undefined;
      this.#setMessage("");
      return done;
    } catch (error) {
      if (mine !== this.#loading) return undefined;
      this.#setMessage(error.message, { isBad: true });
      return null;
    } finally {
      clearTimeout(slow);
    }
  }

  #setMessage(text, { isBad = false } = {}) {
    this.message.hidden = !text;
    this.message.className = isBad ? "message bad" : "message";
    this.message.textContent = isBad ? sentence(text) : text;
    if (isBad)
      this.message.append(
        " ",
        button("Try again", () => this.#retry()),
      );
  }

  #retry() {
    if (this.#pairs.length) this.#redraw();
    else this.#useStack(this.#stack.title);
  }

  async #savePicture() {
    const { isOnePair, isGather, channel } = this.controls;
    const ofMany = isGather ? `virtual_shot_${channel.value}` : "record_section";
    const name = isOnePair ? `correlogram_${this.#pair.first}_${this.#pair.second}` : ofMany;
    const plot = isOnePair ? this.correlogram : this.section;
    download(`${name}.png`, await plot.picture());
  }

  #saveTrace() {
    if (!this.#shown?.stack) return;
    const { first, second } = this.#pair;
    download(
      `${this.#stack.title}_${first}_${second}.csv`,
      traceCsv(this.#shown.stack, this.#shown.fs, "stack"),
    );
  }
}

/** Days in parts that can be loaded at a time: [first, count, text]. */
function loadableParts(days) {
  const parts = [];
  for (let first = 0; first < days.length;) {
    const some = daysWithin(days, first);
    const text = some.length === 1 ? some[0].day : `${some[0].day} to ${some.at(-1).day}`;
    parts.push([first, some.length, text]);
    first += some.length;
  }
  return parts;
}

function sectionNote(isGather, shown, all) {
  const direction = isGather
    ? "At positive lags, waves travel away from the channel."
    : "At positive lags, the wave reaches the second channel later.";
  const traces =
    shown < all
      ? `${counted(shown, "trace")} of ${all.toLocaleString("en")}, evenly spaced in distance.`
      : `${counted(shown, "trace")}.`;
  return `${direction} Each trace is normalised to its maximum. ${traces}`;
}
