/** The form that requests another stack of a finished job. */

import { button, download, make } from "../../lib/dom.js";
import {
  applies,
  columnsOf,
  defaultsOf,
  describeMethod,
  problemsOf,
  requestTitle,
  stackingCsv,
  titleOf,
} from "../../request/stacking_form.js";
import { submitJob } from "../../request/submit.js";
import { remember } from "../../results/job_list.js";
import { pollerOf } from "../../results/poller.js";
import { isOver, progressText, share, stateWord } from "../../results/status.js";

const FIRST = [
  "type",
  "phase_smooth",
  "power",
  "select",
  "threshold",
  "stack_all",
  "interval",
  "moving",
];

// Where the help of limits.json describes a file, not a form.
const HINTS = {
  stack_all: "if unchecked, one stack per day or interval",
  pairs:
    "two channels separated by a bar, pairs separated by semicolons; if empty, those with the highest SNR",
  shots: "channels separated by semicolons; if empty, that of the pair with the highest SNR",
};

export class RequestForm {
  #app;
  #limits;
  #selection;
  #values;
  #job = "";
  #followed = []; // functions that stop following the jobs below the form

  /**
   * @param {import("../../main.js").App} app
   * @param {() => {pairs: Set<string>, channels: Set<string>}} selection  of the correlation job
   */
  constructor(app, selection) {
    [this.#app, this.#limits, this.#selection] = [app, app.limits.stacking, selection];
    this.#values = { ...defaultsOf(this.#limits), stack_all: "true" };
    this.fields = new Map(
      columnsOf(this.#limits).map((name) => [
        name,
        new RequestField(name, this.#limits[name], this.#values[name], () => this.#update()),
      ]),
    );
    this.title = make("h3");
    this.send = button("Stack", undefined, { type: "submit", className: "primary" });
    this.problems = make("div", { className: "message bad", role: "alert" });
    this.notConnected = make(
      "p",
      { className: "message" },
      "This page is not connected to a service. Save the file into an empty folder and run ",
      make("code", {}, "xcor-daemon stack FOLDER --corr JOB/CORR"),
      ".",
    );
    this.jobs = make("div", { className: "stack" });
    this.element = make("div", { className: "stack" }, this.#makeForm(), this.jobs);
    this.#update();
    this.#showProblems([]);
  }

  #makeForm() {
    const elementOf = (name) => this.fields.get(name).element;
    const others = [...this.fields.keys()].filter((name) => !FIRST.includes(name));
    const save = button("Save stacking_params.csv", () => this.#saveCsv());
    const form = make(
      "form",
      { className: "card stack", noValidate: true },
      this.title,
      make("div", { className: "grid" }, ...FIRST.map(elementOf)),
      make(
        "details",
        {},
        make("summary", {}, "Uncertainty, dv/v and images"),
        make("div", { className: "grid" }, ...others.map(elementOf)),
      ),
      this.problems,
      this.notConnected,
      make("div", { className: "row" }, this.send, save),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    return form;
  }

  /** Set the correlation job whose stacks are requested. */
  setJob(id) {
    if (id === this.#job) return;
    this.#job = id;
    this.#followed.forEach((stop) => stop());
    this.#followed = [];
    this.jobs.replaceChildren();
    this.title.textContent = `New stack of the correlations of job ${id}`;
    this.send.hidden = !this.#app.config.submit;
    this.notConnected.hidden = Boolean(this.#app.config.submit);
    for (const field of this.fields.values()) field.setError("");
    this.#showProblems([]);
  }

  /** Offer the plotted pair or channel in the form. */
  suggest({ pair, channel }) {
    this.fields.get("pairs").input.placeholder = pair?.name ?? "";
    this.fields.get("shots").input.placeholder = channel ?? "";
  }

  /** Read the fields, and show those that apply. */
  #update() {
    for (const [name, field] of this.fields) this.#values[name] = field.value;
    for (const [name, field] of this.fields) field.element.hidden = !applies(name, this.#values);
    this.fields.get("type").hint.textContent =
      describeMethod(this.#values.type) || this.#limits.type.help;
  }

  /** Show the errors at their fields; true where there are none. */
  #validate() {
    this.#update();
    const found = problemsOf(this.#values, this.#limits, this.#selection());
    for (const [name, field] of this.fields) field.setError(found[name] ?? "");
    const first = Object.keys(found)[0];
    if (first) this.#focus(first);
    return !first;
  }

  #focus(name) {
    const { element, input } = this.fields.get(name);
    const folded = element.closest("details");
    if (folded) folded.open = true;
    input.focus();
  }

  #csv() {
    return stackingCsv(this.#values, this.#limits, this.#job);
  }

  #saveCsv() {
    if (this.#validate()) download("stacking_params.csv", this.#csv());
  }

  async #submit() {
    this.#showProblems([]);
    if (!this.#validate()) return;
    this.send.disabled = true;
    try {
      const answer = await submitJob(this.#app, "stack", { stacking_params: this.#csv() });
      if (answer.id) this.#follow(answer.id);
      else if (answer.problems) this.#showRejection(answer.problems);
      else
        this.#showProblems([
          `The service did not confirm the job: ${answer.trouble}. Retrying is safe: it cannot create a second job.`,
        ]);
    } finally {
      this.send.disabled = false;
    }
  }

  #showRejection(problems) {
    const errors = new Map();
    for (const { column, text } of problems)
      errors.set(column, errors.has(column) ? `${errors.get(column)}; ${text}` : String(text));
    for (const [column, text] of errors) this.fields.get(column)?.setError(text);
    const others = problems
      .filter(({ column }) => !this.fields.has(column))
      .map(({ column, value, text }) => `${column} ${value} ${text}`);
    const first = problems.find(({ column }) => this.fields.has(column));
    if (first) this.#focus(first.column);
    this.#showProblems(["The service rejected the job.", ...others]);
  }

  #showProblems(lines) {
    this.problems.hidden = lines.length === 0;
    this.problems.replaceChildren(...lines.map((text) => make("p", {}, text)));
  }

  /** Follow a submitted stacking job below the form. */
  #follow(id) {
    const name = requestTitle(this.#values);
    const { store, now, notices } = this.#app;
    remember(store, { id, kind: "stack", title: `${name} of job ${this.#job}` }, now());
    const card = new SubmittedJob(id, name);
    this.jobs.prepend(card.element);
    let before = "";
    this.#followed.push(
      pollerOf(this.#app).follow(id, (seen) => {
        const state = card.update(seen);
        if (before && before !== state)
          notices.announce(`${this.title.textContent}: ${stateWord(state)}.`);
        before = state;
      }),
    );
    card.element.focus();
  }
}

/** A submitted stacking job, with its progress and the link to its results. */
class SubmittedJob {
  constructor(id, name) {
    this.state = make("span", { className: "chip" }, "Submitted");
    this.bar = make("progress", { max: 1, ariaLabel: `Progress of ${name}` });
    this.text = make("p", { className: "quiet" });
    this.open = make(
      "a",
      { href: `#stacking?id=${id}`, className: "button strong", hidden: true },
      "View result",
    );
    const more = make("a", { href: `#jobs?id=${id}` }, `Job ${id}`);
    this.element = make(
      "section",
      { className: "card stack", ariaLabel: name, tabIndex: -1 },
      make("div", { className: "row" }, make("h3", {}, name), this.state),
      this.bar,
      this.text,
      make("div", { className: "row" }, this.open, more),
    );
  }

  /** Show a status; returns the state of the job. */
  update({ status, trouble }) {
    const state = status?.state ?? "queued";
    const known = status?.reason || (status ? progressText(status) : "");
    this.state.textContent = stateWord(state);
    this.text.textContent = trouble ? `The status cannot be read: ${trouble}.` : known;
    const done = status ? share(status) : null;
    if (done === null) this.bar.removeAttribute("value");
    else this.bar.value = done;
    this.bar.hidden = isOver(state);
    this.open.hidden = state !== "done";
    return state;
  }
}

/** A field for a column of limits.json. */
class RequestField {
  constructor(name, limit, value, onchange) {
    const id = `stacking-${name}`;
    this.hint = make("span", { className: "hint", id: `${id}-hint` }, HINTS[name] ?? limit.help);
    this.error = make("span", { className: "error", id: `${id}-error` });
    this.input = inputOf(id, limit, value);
    for (const type of ["input", "change"]) this.input.addEventListener(type, onchange);
    this.input.setAttribute("aria-describedby", `${this.hint.id} ${this.error.id}`);
    this.element = make(
      "div",
      { className: "field" },
      ...(limit.kind === "flag"
        ? [make("label", { className: "check" }, this.input, titleOf(name))]
        : [make("label", { for: id }, titleOf(name), unitOf(limit)), this.input]),
      this.hint,
      this.error,
    );
  }

  get value() {
    return this.input.type === "checkbox" ? String(this.input.checked) : this.input.value;
  }

  setError(text) {
    this.error.textContent = text;
    this.input.setAttribute("aria-invalid", String(Boolean(text)));
  }
}

function unitOf({ unit }) {
  return unit && unit !== "1" ? make("span", { className: "unit" }, ` ${unit}`) : null;
}

function inputOf(id, limit, value) {
  if (limit.kind === "choice") {
    const choices = limit.default === null ? ["", ...limit.choices] : limit.choices;
    const select = make(
      "select",
      { id },
      ...choices.map((choice) => make("option", { value: choice }, choice || "default")),
    );
    select.value = value;
    return select;
  }
  if (limit.kind === "flag")
    return make("input", { id, type: "checkbox", checked: value === "true" });
  const isNumber = limit.kind === "number";
  return make("input", {
    id,
    type: "text",
    inputMode: isNumber ? "decimal" : "text",
    value,
    autocomplete: "off",
    spellcheck: false,
    placeholder: isNumber ? "default" : "",
  });
}
