/** The tab Jobs: those that this browser follows, and one of them in full. */

import { button, make } from "../../lib/dom.js";
import { openDetail } from "./detail.js";
import { forget, idIn, keptJobs, note, remember, titleOf } from "../../results/job_list.js";
import { isOver, progressText, stateWord } from "../../results/status.js";
import { watcherOf } from "../../results/poller.js";

/**
 * @param {HTMLElement} panel
 * @param {import("../../main.js").App} app
 */
export function mount(panel, app) {
  const watcher = watcherOf(app);
  const rows = new Map(); // id -> its row and how to stop following it
  let chosen = "";

  const service = make("p", { className: "service quiet" });
  const list = make("ul", { className: "joblist" });
  const none = make(
    "div",
    { className: "empty" },
    make("p", {}, "No jobs in this browser yet."),
    make("p", {}, "Launch one in the XCor tab, or open one by its number."),
  );
  const detail = openDetail(app, {
    onForget: (id) => (forget(app.store, id), app.tabs.go("jobs", {})),
  });
  const finder = openFinder((id) => app.tabs.go("jobs", { id }));
  panel.classList.add("jobs");
  panel.append(
    make("div", { className: "head" }, make("h2", {}, "Jobs"), service, finder),
    make(
      "div",
      { className: "sides" },
      make("div", { className: "card list" }, list, none),
      detail.element,
    ),
  );
  watcher.followService(({ isUp, text }) => {
    service.textContent = text;
    service.dataset.up = String(isUp);
  });

  function drawList() {
    const kept = keptJobs(app.store);
    for (const [id, row] of rows) {
      if (kept.some((job) => job.id === id)) continue;
      row.stop();
      rows.delete(id);
    }
    const items = kept.map((job) => rowOf(job).element);
    if (items.length !== list.children.length || items.some((item, k) => item !== list.children[k]))
      list.replaceChildren(...items);
    list.hidden = items.length === 0;
    none.hidden = items.length > 0;
    for (const [id, row] of rows) row.choose(id === chosen);
  }

  function rowOf(job) {
    if (!rows.has(job.id)) rows.set(job.id, openRow(job, app, watcher));
    return rows.get(job.id);
  }

  app.store.subscribe("jobs", drawList);
  drawList();
  return {
    open(params) {
      const wanted = params.get("id") ?? "";
      const id = idIn(wanted);
      finder.fail(wanted && !id ? `"${wanted.slice(0, 40)}" is not a job number.` : "");
      if (id) remember(app.store, { id }, app.now());
      chosen = id ?? keptJobs(app.store)[0]?.id ?? "";
      drawList();
      detail.show(
        chosen,
        keptJobs(app.store).find((job) => job.id === chosen),
      );
    },
  };
}

/** A line of the list, which follows its job for as long as it stands there. */
function openRow(job, app, watcher) {
  const state = make("span", { className: "state" });
  const what = make("span", { className: "what" }, titleOf(job));
  const how = make("span", { className: "how quiet small" });
  const link = make("a", { href: `#jobs?id=${job.id}` }, what, state, how);
  const element = make("li", {}, link);
  let last = job.state;

  function draw({ status, isThere, trouble }) {
    const word = status ? stateWord(status.state) : "Loading";
    state.textContent = word;
    element.dataset.state = status?.state ?? "";
    how.textContent = trouble
      ? "status unavailable"
      : status
        ? progressText(status) || (job.title ? `job ${job.id}` : "")
        : "";
    if (!status || !isThere) return;
    what.textContent = titleOf({ ...job, kind: status.kind });
    note(app.store, job.id, { state: status.state, kind: status.kind });
    if (last && last !== status.state && isOver(status.state))
      app.notices.say(`Job ${job.id}: ${word}.`);
    last = status.state;
  }

  // What ended stays ended: it need not be asked for again to be listed.
  draw({
    status: job.state ? { state: job.state, stage: "", days: [0, 0], ahead: null } : null,
    isThere: false,
    trouble: "",
  });
  const stop = isOver(job.state) ? () => {} : watcher.follow(job.id, draw);
  return {
    element,
    stop,
    choose(isChosen) {
      if (isChosen) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    },
  };
}

/** The field that opens a job by its number or link. */
function openFinder(onFound) {
  const field = make("input", {
    id: "job-number",
    type: "text",
    placeholder: "number or link",
    autocomplete: "off",
    spellcheck: false,
  });
  const error = make("p", { className: "error bad small", id: "job-number-error" });
  const form = make(
    "form",
    { className: "finder" },
    make("label", { for: "job-number", className: "small" }, "Open a job"),
    field,
    button("Open", undefined, { type: "submit" }),
    error,
  );
  form.fail = (text) => {
    error.textContent = text;
    field.setAttribute("aria-invalid", String(Boolean(text)));
    if (text) field.setAttribute("aria-describedby", error.id);
    else field.removeAttribute("aria-describedby");
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const id = idIn(field.value);
    form.fail(id ? "" : "A job number has up to 16 digits; enter it, or a link to the job.");
    if (id) onFound(id);
    if (id) field.value = "";
    else field.focus();
  });
  return form;
}
