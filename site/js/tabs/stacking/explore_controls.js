/** The controls above a plot of the tab Stacking: the data that is plotted, and the style. */

import { make } from "../../lib/dom.js";

const KINDS = [
  ["windows", "Correlogram of one pair"],
  ["shot", "Virtual source gather"],
  ["all", "Record section of all pairs"],
];
const SOURCES = [
  ["intervals", "Interval stacks"],
  ["windows", "Correlation windows"],
];
const CLIPS = [
  ["0.9", "90 %"],
  ["0.95", "95 %"],
  ["0.99", "99 %"],
  ["0.999", "99.9 %"],
  ["1", "100 %"],
];

export class ExploreControls {
  /**
   * @param {{onStack: (title: string) => void, onAddress: (changes: Object) => void,
   *     onRedraw: () => void, onRestyle: () => void}} on  `onAddress`: a value of the page's address
   *     has changed; `onRedraw`: other data is wanted; `onRestyle`: the same in another style
   */
  constructor({ onStack, onAddress, onRedraw, onRestyle }) {
    this.stack = select("stack-file", () => onStack(this.stack.value));
    this.kind = select("plot-kind", () => onAddress({ plot: this.kind.value }), KINDS);
    this.channel = select("plot-channel", () => onAddress({ channel: this.channel.value }));
    this.source = select("plot-source", onRedraw, SOURCES);
    this.day = select("plot-day", onRedraw);
    this.maxlag = positiveInput({ id: "plot-maxlag", onchange: onRestyle });
    this.clip = select("plot-clip", onRestyle, CLIPS);
    this.clip.value = "0.99";
    this.distances = ["from", "to"].map((name) =>
      positiveInput({ ariaLabel: `Distance ${name}, km`, onchange: onRedraw }),
    );
    this.gain = make("input", {
      id: "plot-gain",
      type: "range",
      min: "-2",
      max: "3",
      step: "0.5",
      value: "0",
      oninput: onRestyle,
    });
    this.speeds = make("input", {
      id: "plot-speeds",
      type: "checkbox",
      checked: true,
      onchange: onRestyle,
    });
    this.fields = this.#makeFields();
    this.element = make(
      "div",
      { className: "row controls no-print" },
      ...Object.values(this.fields),
    );
  }

  #makeFields() {
    const [from, to] = this.distances;
    return {
      stack: field("Stack", this.stack),
      kind: field("Show", this.kind),
      channel: field("Channel", this.channel),
      source: field("Rows", this.source),
      day: field("Days", this.day),
      maxlag: field("Maximum lag", this.maxlag, "s"),
      clip: field("Clip colours at", this.clip),
      distance: make(
        "fieldset",
        { className: "field" },
        make("legend", {}, "Distance ", make("span", { className: "unit" }, "km")),
        make("div", { className: "row" }, from, make("span", { ariaHidden: "true" }, "–"), to),
      ),
      gain: field("Amplitude", this.gain),
      speeds: make("label", { className: "check" }, this.speeds, "Velocity lines"),
    };
  }

  /** Whether one pair is plotted, not many. */
  get isOnePair() {
    return this.kind.value === "windows";
  }

  /** Whether the virtual source gather of a channel is plotted. */
  get isGather() {
    return this.kind.value === "shot";
  }

  /** The limits of distance (km); NaN where there is none. */
  get distanceLimits() {
    return this.distances.map((input) => (input.value === "" ? NaN : Number(input.value)));
  }

  /** The style of a correlogram or a record section. */
  get style() {
    const maxlag = Number(this.maxlag.value) || Infinity;
    return this.isOnePair
      ? { maxlag, clip: Number(this.clip.value) }
      : { maxlag, gain: 2 ** Number(this.gain.value), speeds: this.speeds.checked };
  }

  /** Offer the stack files of a job. */
  setStacks(stacks, textOf) {
    this.stack.replaceChildren(
      ...stacks.map((stack) => make("option", { value: stack.title }, textOf(stack))),
    );
    this.fields.stack.hidden = stacks.length < 2;
    this.maxlag.value = "";
  }

  /** Offer the channels of a stack file, and the rows that it has for one pair. */
  setChannels(channels, hasIntervals) {
    this.channel.replaceChildren(
      ...channels.map(({ id, count }) => make("option", { value: id }, `${id} (${count})`)),
    );
    // The rows of a pair are windows of days, or the intervals of the stack where it has some.
    this.source.value = hasIntervals ? "intervals" : "windows";
    this.fields.source.dataset.isFixed = String(!hasIntervals);
    this.day.replaceChildren();
  }

  /** Offer the parts in which days can be loaded: [first, count, text]. */
  setDays(parts) {
    this.day.replaceChildren(
      ...parts.map(([first, count, text]) => make("option", { value: `${first}:${count}` }, text)),
    );
  }

  /** First and number of the days that are chosen, of `all`. */
  daysOf(all) {
    return (this.day.value || `0:${all}`).split(":").map(Number);
  }

  /** Set channel and kind of plot from the address. */
  applyUrl(params, channel) {
    this.channel.value = params.get("channel") ?? this.channel.value ?? channel ?? "";
    if (!this.channel.value) this.channel.selectedIndex = 0;
    this.kind.value = params.get("plot") ?? "windows";
    if (!this.kind.value) this.kind.value = "windows";
  }

  /** Limit the lag to that of the data (s). */
  setLagLimit(lag) {
    this.maxlag.max = String(lag);
    if (this.maxlag.value === "" || Number(this.maxlag.value) > lag)
      this.maxlag.value = String(lag);
  }

  /** Show the fields that apply to the kind of plot. */
  showFields() {
    const { fields, isOnePair } = this;
    fields.channel.hidden = !this.isGather;
    fields.source.hidden = !isOnePair || fields.source.dataset.isFixed === "true";
    this.showDays(isOnePair && this.source.value === "windows");
    fields.clip.hidden = !isOnePair;
    for (const name of ["distance", "gain", "speeds"]) fields[name].hidden = isOnePair;
  }

  /** Show the choice of days where it applies and there is more than one part. */
  showDays(applies) {
    this.fields.day.hidden = !applies || this.day.options.length < 2;
  }
}

function select(id, onchange, options = []) {
  return make(
    "select",
    { id, onchange },
    ...options.map(([value, text]) => make("option", { value }, text)),
  );
}

function positiveInput(properties) {
  return make("input", { type: "number", min: "0", step: "any", ...properties });
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
