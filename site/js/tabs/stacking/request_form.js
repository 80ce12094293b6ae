/** The form that asks for another stack of a finished job. */

import { button, download, make } from "../../lib/dom.js";
import { launch } from "../../request/submit.js";
import { remember } from "../../results/job_list.js";
import { isOver, progressText, share, stateWord } from "../../results/status.js";
import { watcherOf } from "../../results/poller.js";
import {
  aboutMethod,
  applies,
  columnsOf,
  defaultsOf,
  problemsOf,
  requestTitle,
  stackingCsv,
  titleOf,
} from "../../request/stacking_form.js";

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

// Where the words of limits.json are those of a file, not of a form.
const HINTS = {
  stack_all: "if unchecked, one stack per day or interval",
  pairs:
    "two channels separated by a bar, pairs separated by semicolons; if empty, those with the highest SNR",
  shots: "channels separated by semicolons; if empty, that of the pair with the highest SNR",
};

/**
 * @param {import("../../main.js").App} app
 * @param {() => {pairs: Set<string>, channels: Set<string>}} known  of the job
 */
export function openRequest(app, known) {
  const limits = app.limits.stacking;
  const values = { ...defaultsOf(limits), stack_all: "true" };
  const fields = new Map(
    columnsOf(limits).map((name) => [name, fieldOf(name, limits[name], values[name], changed)]),
  );
  const title = make("h3");
  const send = button("Stack", undefined, { type: "submit", className: "primary" });
  const problems = make("div", { className: "message bad", role: "alert" });
  const alone = make(
    "p",
    { className: "message" },
    "This page is not connected to a service. Save the file into an empty folder and run ",
    make("code", {}, "xcor-daemon stack FOLDER --corr JOB/CORR"),
    ".",
  );
  const sent = make("div", { className: "stack" });
  const rest = columnsOf(limits).filter((name) => !FIRST.includes(name));
  const form = make(
    "form",
    { className: "card stack", noValidate: true },
    title,
    make("div", { className: "grid" }, ...FIRST.map((name) => fields.get(name).element)),
    make(
      "details",
      {},
      make("summary", {}, "Uncertainty, dv/v and images"),
      make("div", { className: "grid" }, ...rest.map((name) => fields.get(name).element)),
    ),
    problems,
    alone,
    make("div", { className: "row" }, send, button("Save stacking_params.csv", saveCsv)),
  );
  const element = make("div", { className: "stack" }, form, sent);
  let job = "";
  let stop = [];

  function changed() {
    for (const [name, { input }] of fields)
      values[name] = input.type === "checkbox" ? String(input.checked) : input.value;
    for (const [name, { element: box }] of fields) box.hidden = !applies(name, values);
    fields.get("type").hint.textContent = aboutMethod(values.type) || limits.type.help;
  }

  /** Show what is wrong at its field; whether nothing is. */
  function check() {
    changed();
    const found = problemsOf(values, limits, known());
    for (const [name, { fail }] of fields) fail(found[name] ?? "");
    const first = Object.keys(found)[0];
    if (first) reveal(first);
    return !first;
  }

  function reveal(name) {
    const { element: box, input } = fields.get(name);
    const folded = box.closest("details");
    if (folded) folded.open = true;
    input.focus();
  }

  function saveCsv() {
    if (check()) download("stacking_params.csv", stackingCsv(values, limits, job));
  }

  async function submit(event) {
    event.preventDefault();
    tell([]);
    if (!check()) return;
    send.disabled = true;
    try {
      const answer = await launch(app, "stack", {
        stacking_params: stackingCsv(values, limits, job),
      });
      if (answer.id) follow(answer.id);
      else if (answer.problems) refused(answer.problems);
      else
        tell([
          `The service did not confirm the job: ${answer.trouble}. Retrying is safe: it cannot create a second job.`,
        ]);
    } finally {
      send.disabled = false;
    }
  }

  function refused(list) {
    const words = new Map();
    for (const { column, text } of list)
      words.set(column, words.has(column) ? `${words.get(column)}; ${text}` : String(text));
    for (const [column, text] of words) fields.get(column)?.fail(text);
    const loose = list
      .filter(({ column }) => !fields.has(column))
      .map(({ column, value, text }) => `${column} ${value} ${text}`);
    const first = list.find(({ column }) => fields.has(column));
    if (first) reveal(first.column);
    tell(["The service rejected the job.", ...loose]);
  }

  function tell(lines) {
    problems.hidden = lines.length === 0;
    problems.replaceChildren(...lines.map((text) => make("p", {}, text)));
  }

  /** Follow a stacking job below the form. */
  function follow(id) {
    const asked = requestTitle(values);
    remember(app.store, { id, kind: "stack", title: `${asked} of job ${job}` }, app.now());
    const card = make("section", { className: "card stack", ariaLabel: asked });
    sent.prepend(card);
    const head = make("h3", {}, asked);
    const chip = make("span", { className: "chip" }, "Submitted");
    const bar = make("progress", { max: 1, ariaLabel: `Progress of ${asked}` });
    const text = make("p", { className: "quiet" });
    const open = make(
      "a",
      { href: `#stacking?id=${id}`, className: "button strong" },
      "View result",
    );
    const more = make("a", { href: `#jobs?id=${id}` }, `Job ${id}`);
    card.append(
      make("div", { className: "row" }, head, chip),
      bar,
      text,
      make("div", { className: "row" }, open, more),
    );
    let before = "";
    stop.push(
      watcherOf(app).follow(id, ({ status, trouble }) => {
        const state = status?.state ?? "queued";
        chip.textContent = stateWord(state);
        text.textContent = trouble
          ? `The status cannot be read: ${trouble}.`
          : status?.reason || (status ? progressText(status) : "");
        const done = status ? share(status) : null;
        if (done === null) bar.removeAttribute("value");
        else bar.value = done;
        bar.hidden = isOver(state);
        open.hidden = state !== "done";
        if (before && before !== state) app.notices.say(`${title}: ${stateWord(state)}.`);
        before = state;
      }),
    );
    open.hidden = true;
    card.tabIndex = -1;
    card.focus();
  }

  form.addEventListener("submit", submit);
  changed();
  tell([]);
  return {
    element,
    /** The correlation job that a request is for. */
    use(id) {
      if (id === job) return;
      job = id;
      stop.forEach((end) => end());
      stop = [];
      sent.replaceChildren();
      title.textContent = `New stack of the correlations of job ${job}`;
      send.hidden = !app.config.submit;
      alone.hidden = Boolean(app.config.submit);
      for (const { fail } of fields.values()) fail("");
      tell([]);
    },
    /** Put a pair or a channel that is looked at into the form. */
    suggest({ pair, channel }) {
      fields.get("pairs").input.placeholder = pair?.name ?? "";
      fields.get("shots").input.placeholder = channel ?? "";
    },
  };
}

/** A field for a column of limits.json. */
function fieldOf(name, limit, value, onchange) {
  const id = `stacking-${name}`;
  const [hint, error] = [
    make("span", { className: "hint", id: `${id}-hint` }, HINTS[name] ?? limit.help),
    make("span", { className: "error", id: `${id}-error` }),
  ];
  const unit =
    limit.unit && limit.unit !== "1" ? make("span", { className: "unit" }, ` ${limit.unit}`) : null;
  const input = inputOf(id, limit, value);
  input.addEventListener("input", onchange);
  input.addEventListener("change", onchange);
  input.setAttribute("aria-describedby", `${hint.id} ${error.id}`);
  const isFlag = limit.kind === "flag";
  const element = isFlag
    ? make(
        "div",
        { className: "field" },
        make("label", { className: "check" }, input, titleOf(name)),
        hint,
        error,
      )
    : make(
        "div",
        { className: "field" },
        make("label", { for: id }, titleOf(name), unit),
        input,
        hint,
        error,
      );
  return {
    element,
    input,
    hint,
    fail(text) {
      error.textContent = text;
      input.setAttribute("aria-invalid", String(Boolean(text)));
    },
  };
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
