/** Looking at pairs: the list, and beside it one pair's windows or many pairs by distance. */

import { button, download, make } from "../../lib/dom.js";
import { openCorrelogram } from "../../plot/correlogram.js";
import { openSection } from "../../plot/record_section.js";
import { gatherOf, thinned, traceCsv } from "../../plot/traces.js";
import { counted, number, sentence, size } from "../../lib/format.js";
import { openPairTable } from "./pair_table_view.js";
import { daysWithin, MOST_TRACES } from "../../results/results.js";
import { channelsOf } from "../../results/pair_table.js";

const CLIPS = [
  ["0.9", "90 %"],
  ["0.95", "95 %"],
  ["0.99", "99 %"],
  ["0.999", "99.9 %"],
  ["1", "100 %"],
];

/**
 * @param {import("../../main.js").App} app
 * @param {(changes: Object) => void} onState  told what belongs into the address
 */
export function openExplore(app, onState) {
  let [results, stack, pairs, pair, shown] = [null, null, [], null, null];
  let going = new AbortController();

  const stackPick = pick("stack-file", () => useStack(stackPick.value));
  const kind = pick("plot-kind", () => (onState({ plot: kind.value }), redraw()), [
    ["windows", "Correlogram of one pair"],
    ["shot", "Virtual source gather"],
    ["all", "Record section of all pairs"],
  ]);
  const channel = pick("plot-channel", () => (onState({ channel: channel.value }), redraw()));
  const source = pick("plot-source", redraw, [
    ["intervals", "Interval stacks"],
    ["windows", "Correlation windows"],
  ]);
  const day = pick("plot-day", redraw);
  const maxlag = make("input", {
    id: "plot-maxlag",
    type: "number",
    min: "0",
    step: "any",
    onchange: restyle,
  });
  const clip = pick("plot-clip", restyle, CLIPS);
  clip.value = "0.99";
  const [least, most] = ["from", "to"].map((name) =>
    make("input", {
      type: "number",
      min: "0",
      step: "any",
      ariaLabel: `Distance ${name}, km`,
      onchange: redraw,
    }),
  );
  const gain = make("input", {
    id: "plot-gain",
    type: "range",
    min: "-2",
    max: "3",
    step: "0.5",
    value: "0",
    oninput: restyle,
  });
  const speeds = make("input", {
    id: "plot-speeds",
    type: "checkbox",
    checked: true,
    onchange: restyle,
  });
  const fields = {
    stack: field("Stack", stackPick),
    kind: field("Show", kind),
    channel: field("Channel", channel),
    source: field("Rows", source),
    day: field("Days", day),
    maxlag: field("Maximum lag", maxlag, "s"),
    clip: field("Clip colours at", clip),
    distance: make(
      "fieldset",
      { className: "field" },
      make("legend", {}, "Distance ", make("span", { className: "unit" }, "km")),
      make("div", { className: "row" }, least, make("span", { ariaHidden: "true" }, "–"), most),
    ),
    gain: field("Amplitude", gain),
    speeds: make("label", { className: "check" }, speeds, "Velocity lines"),
  };
  const title = make("h3");
  const note = make("p", { className: "small quiet" });
  const state = make("p", { className: "message", role: "status" });
  const [correlogram, section] = [openCorrelogram(), openSection()];
  correlogram.hint("Point at the plot, or use the arrow keys, to read values.");
  section.hint("Point at the plot, or use the arrow keys, to read values.");
  const save = button("Save image", savePicture);
  const csv = button("Save trace as CSV", saveTrace);
  const file = make("a", { className: "button", download: "" }, "HDF5 file");
  const controls = make("div", { className: "row controls no-print" }, ...Object.values(fields));
  const plots = make(
    "div",
    { className: "stack plots" },
    correlogram.element,
    section.element,
    note,
    make("div", { className: "row no-print" }, save, csv, file),
  );
  const table = openPairTable({ onChoose: choosePair });
  const element = make(
    "div",
    { className: "explore" },
    make("div", { className: "card" }, table.element),
    make("div", { className: "card stack" }, controls, title, state, plots),
  );

  async function useStack(name) {
    stack = results.stacks.find((one) => one.title === name) ?? results.stacks[0];
    [pairs, pair] = [[], null];
    table.set([]);
    title.hidden = plots.hidden = controls.hidden = true;
    file.href = results.url(stack.file);
    await attempt("Loading the pairs ...", async () => {
      pairs = await results.pairs(stack);
      table.set(pairs);
      channel.replaceChildren(
        ...channelsOf(pairs).map(({ id, count }) =>
          make("option", { value: id }, `${id} (${count})`),
        ),
      );
      pair = table.shown[0] ?? null;
      // One pair's rows are windows of days, or the intervals of the stack where it has some.
      const hasIntervals = stack.stack.shape.length === 3;
      source.value = hasIntervals ? "intervals" : "windows";
      fields.source.dataset.isFixed = String(!hasIntervals);
      day.replaceChildren();
      obey(app.tabs.params("stacking"));
    });
    if (pairs.length) redraw();
  }

  /** Take from the address what is to be looked at. */
  function obey(params) {
    pair = pairs.find((one) => one.name === params.get("pair")) ?? pair;
    channel.value = params.get("channel") ?? channel.value ?? pair?.first ?? "";
    if (!channel.value) channel.selectedIndex = 0;
    kind.value = params.get("plot") ?? "windows";
    if (!kind.value) kind.value = "windows";
  }

  function choosePair(chosen) {
    pair = chosen;
    kind.value = "windows";
    onState({ pair: pair.name, plot: "windows" });
    redraw();
  }

  async function redraw() {
    if (!stack || !pairs.length) return;
    const isOne = kind.value === "windows";
    title.hidden = plots.hidden = controls.hidden = false;
    fields.channel.hidden = kind.value !== "shot";
    fields.source.hidden = !isOne || fields.source.dataset.isFixed === "true";
    fields.day.hidden = !isOne || source.value !== "windows" || day.options.length < 2;
    fields.clip.hidden = !isOne;
    for (const one of ["distance", "gain", "speeds"]) fields[one].hidden = isOne;
    correlogram.element.hidden = !isOne;
    section.element.hidden = isOne;
    table.mark(isOne && pair ? pair.name : "");
    csv.hidden = !isOne;
    shown = null;
    plots.setAttribute("aria-busy", "true");
    if (isOne) await drawPair();
    else await drawSection();
  }

  async function drawPair() {
    if (!pair) return;
    const [one, other] = [pair.first, pair.second];
    title.textContent = `${one} to ${other}`;
    note.textContent = `${number(pair.distance)} km · SNR ${number(pair.snr, 1)} · peak at ${number(pair.lag)} s · ${counted(pair.n_windows, "window")} · at positive lags the wave reaches ${other} after ${one}`;
    correlogram.label(
      `Correlogram of ${one} and ${other}: lag against time. Arrow keys read values.`,
    );
    const isOfIntervals = source.value === "intervals";
    let missing = "";
    const loaded = await attempt("Loading the windows ...", async (signal, told) => {
      const [{ fs }, [trace]] = await Promise.all([
        results.axes(stack),
        results.traces(stack, [{ pair }], signal),
      ]);
      const none = { values: new Float32Array(0), columns: trace.length, times: [] };
      const load = isOfIntervals
        ? results.intervals(stack, pair, signal)
        : loadWindows(signal, told);
      // The stack is worth seeing though its windows are gone.
      const rows = await load.catch((error) => {
        if (signal.aborted) throw error;
        missing = error.message;
        return none;
      });
      return { ...rows, stack: trace, fs, what: isOfIntervals ? "Interval" : "Window" };
    });
    take(loaded, correlogram, loaded?.columns);
    if (loaded && missing) put(`The windows cannot be shown: ${missing}`, true);
  }

  async function loadWindows(signal, told) {
    const corr = await results.correlations(signal);
    const days = await corr.days();
    if (!day.options.length) fillDays(days);
    const [first, count] = (day.value || `0:${days.length}`).split(":").map(Number);
    fields.day.hidden = day.options.length < 2;
    return corr.windows(pair.name, days.slice(first, first + count), {
      signal,
      onDay: (done, of) => of > 4 && told(`Loading the windows: ${done} of ${of} days`),
    });
  }

  /** The days in parts that can be loaded at a time. */
  function fillDays(days) {
    const options = [];
    for (let first = 0; first < days.length;) {
      const some = daysWithin(days, first);
      const text = some.length === 1 ? some[0].day : `${some[0].day} to ${some.at(-1).day}`;
      options.push(make("option", { value: `${first}:${some.length}` }, text));
      first += some.length;
    }
    day.replaceChildren(...options);
  }

  async function drawSection() {
    const isShot = kind.value === "shot";
    const [low, high] = [least, most].map((input) =>
      input.value === "" ? NaN : Number(input.value),
    );
    const near = pairs.filter(({ distance }) => !(distance < low) && !(distance > high));
    const all = gatherOf(near, isShot ? channel.value : "");
    const place = results.traceOf(stack);
    const gather = thinned(all, Math.floor(MOST_TRACES / (4 * place.shape.at(-1))));
    title.textContent = isShot
      ? `Virtual source gather of ${channel.value}`
      : "Record section of all pairs";
    const left =
      gather.length < all.length
        ? ` ${counted(gather.length, "trace")} of ${all.length.toLocaleString("en")}, evenly spaced in distance.`
        : ` ${counted(gather.length, "trace")}.`;
    note.textContent = `${isShot ? "At positive lags, waves travel away from the channel." : "At positive lags, the wave reaches the second channel later."} Each trace is normalised to its maximum.${left}`;
    section.label(`${title.textContent}: lag against distance. Arrow keys read values.`);
    const loaded = await attempt("Loading the traces ...", async (signal) => {
      const [{ fs }, traces] = await Promise.all([
        results.axes(stack),
        results.traces(stack, gather, signal),
      ]);
      return {
        fs,
        traces: gather.map(({ pair: { distance }, name }, k) => ({
          trace: traces[k],
          distance,
          name,
        })),
      };
    });
    take(loaded, section, place.shape.at(-1));
  }

  /** Draw what was loaded; undefined: something else is wanted by now, null: it failed. */
  function take(loaded, plot, columns) {
    if (loaded === undefined) return;
    shown = loaded;
    plots.setAttribute("aria-busy", "false");
    if (!shown) return plot.clear();
    const all = (columns - 1) / 2 / shown.fs;
    maxlag.max = String(all);
    if (maxlag.value === "" || Number(maxlag.value) > all) maxlag.value = String(all);
    restyle();
  }

  /** Draw what is loaded in another way. */
  function restyle() {
    if (!shown) return;
    const lag = Number(maxlag.value) || Infinity;
    if (kind.value === "windows")
      correlogram.show(shown, { maxlag: lag, clip: Number(clip.value) });
    else
      section.show(shown, { maxlag: lag, gain: 2 ** Number(gain.value), speeds: speeds.checked });
  }

  /** Do something that takes time; gives null where it failed, undefined where a later one began. */
  async function attempt(text, work) {
    going.abort();
    const mine = (going = new AbortController());
    const told = (words) => mine === going && put(words);
    const slow = setTimeout(told, 250, text);
    try {
      const done = await work(mine.signal, told);
      if (mine !== going) return undefined;
      put("");
      return done;
    } catch (error) {
      if (mine !== going) return undefined;
      put(error.message, true);
      return null;
    } finally {
      clearTimeout(slow);
    }
  }

  function put(text, isBad = false) {
    state.hidden = !text;
    state.className = isBad ? "message bad" : "message";
    state.textContent = isBad ? sentence(text) : text;
    if (isBad)
      state.append(
        " ",
        button("Try again", () => (pairs.length ? redraw() : useStack(stack.title))),
      );
  }

  async function savePicture() {
    const isOne = kind.value === "windows";
    const name = isOne
      ? `correlogram_${pair.first}_${pair.second}`
      : kind.value === "shot"
        ? `virtual_shot_${channel.value}`
        : "record_section";
    download(`${name}.png`, await (isOne ? correlogram : section).picture());
  }

  function saveTrace() {
    if (shown?.stack)
      download(
        `${stack.title}_${pair.first}_${pair.second}.csv`,
        traceCsv(shown.stack, shown.fs, "stack"),
      );
  }

  put("");
  return {
    element,
    /** Show the results of a job. */
    use(opened) {
      [results, shown] = [opened, null];
      stackPick.replaceChildren(
        ...results.stacks.map((one) =>
          make("option", { value: one.title }, `${one.title} (${size(one.file.size)})`),
        ),
      );
      fields.stack.hidden = results.stacks.length < 2;
      maxlag.value = "";
      return useStack(results.stacks[0]?.title);
    },
    /** Show what another address of the same job says. */
    go(params) {
      const [before, ...was] = [pair?.name, channel.value, kind.value];
      obey(params);
      if (pair?.name !== before || channel.value !== was[0] || kind.value !== was[1]) redraw();
    },
    /** What is known of the job, for the request of a stack. */
    get known() {
      return {
        pairs: new Set(pairs.map(({ name }) => name)),
        channels: new Set(channelsOf(pairs).map(({ id }) => id)),
        pair,
        channel: channel.value,
      };
    },
  };
}

function pick(id, onchange, options = []) {
  return make(
    "select",
    { id, onchange },
    ...options.map(([value, text]) => make("option", { value }, text)),
  );
}

function field(text, input, unit) {
  return make(
    "div",
    { className: "field" },
    make(
      "label",
      { for: input.id },
      text,
      unit ? make("span", { className: "unit" }, ` ${unit}`) : null,
    ),
    input,
  );
}
