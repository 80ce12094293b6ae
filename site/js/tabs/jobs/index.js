/** The tab Jobs: the jobs that this browser follows, and the details of one of them. */

import { button, make } from "../../lib/dom.js";
import { forget, idIn, note, remember, storedJobs, titleOf } from "../../results/job_list.js";
import { pollerOf } from "../../results/poller.js";
import { isOver, progressText, stateWord } from "../../results/status.js";
import { JobDetail } from "./detail.js";

/**
 * @param {HTMLElement} panel
 * @param {import("../../main.js").App} app
 */
export function mount(panel, app) {
  return new JobsTab(panel, app);
}

class JobsTab {
  #app;
  #rows = new Map(); // by job id
  #chosen = "";

  constructor(panel, app) {
    this.#app = app;
    this.service = make("p", { className: "service quiet" });
    this.list = make("ul", { className: "joblist" });
    this.empty = make(
      "div",
      { className: "empty" },
      make("p", {}, "No jobs in this browser yet."),
      make("p", {}, "Launch one in the XCor tab, or open one by its number."),
    );
    this.detail = new JobDetail(app, {
      onForget: (id) => (forget(app.store, id), app.tabs.go("jobs", {})),
    });
    this.finder = new JobFinder((id) => app.tabs.go("jobs", { id }));
    panel.classList.add("jobs");
    panel.append(
      make("div", { className: "head" }, make("h2", {}, "Jobs"), this.service, this.finder.element),
      make(
        "div",
        { className: "sides" },
        make("div", { className: "card list" }, this.list, this.empty),
        this.detail.element,
      ),
    );
    pollerOf(app).followService(({ isUp, text }) => {
      this.service.textContent = text;
      this.service.dataset.up = String(isUp);
    });
    app.store.subscribe("jobs", () => this.#renderList());
    this.#renderList();
  }

  /** Show the job that the address names, or the newest. */
  open(params) {
    const { store, now } = this.#app;
    const given = params.get("id") ?? "";
    const id = idIn(given);
    this.finder.setError(given && !id ? `"${given.slice(0, 40)}" is not a job number.` : "");
    if (id) remember(store, { id }, now());
    this.#chosen = id ?? storedJobs(store)[0]?.id ?? "";
    this.#renderList();
    this.detail.show(
      this.#chosen,
      storedJobs(store).find((job) => job.id === this.#chosen),
    );
  }

  #renderList() {
    const jobs = storedJobs(this.#app.store);
    for (const [id, row] of this.#rows) {
      if (jobs.some((job) => job.id === id)) continue;
      row.stop();
      this.#rows.delete(id);
    }
    const items = jobs.map((job) => this.#rowOf(job).element);
    const { list } = this;
    if (items.length !== list.children.length || items.some((item, k) => item !== list.children[k]))
      list.replaceChildren(...items);
    list.hidden = items.length === 0;
    this.empty.hidden = items.length > 0;
    for (const [id, row] of this.#rows) row.markChosen(id === this.#chosen);
  }

  #rowOf(job) {
    if (!this.#rows.has(job.id)) this.#rows.set(job.id, new JobRow(job, this.#app));
    return this.#rows.get(job.id);
  }
}

/** A line of the list; it follows its job for as long as it is in the list. */
class JobRow {
  #job;
  #app;
  #last; // state

  constructor(job, app) {
    [this.#job, this.#app, this.#last] = [job, app, job.state];
    this.state = make("span", { className: "state" });
    this.title = make("span", { className: "what" }, titleOf(job));
    this.progress = make("span", { className: "how quiet small" });
    this.link = make("a", { href: `#jobs?id=${job.id}` }, this.title, this.state, this.progress);
    this.element = make("li", {}, this.link);
    // The state of a job that has ended is final: it is listed without another request.
    const stored = { state: job.state, stage: "", days: [0, 0], ahead: null };
    this.#update({ status: job.state ? stored : null, isThere: false, trouble: "" });
    this.stop = isOver(job.state)
      ? () => {}
      : pollerOf(app).follow(job.id, (seen) => this.#update(seen));
  }

  markChosen(isChosen) {
    if (isChosen) this.link.setAttribute("aria-current", "true");
    else this.link.removeAttribute("aria-current");
  }

  #update({ status, isThere, trouble }) {
    const job = this.#job;
    const word = status ? stateWord(status.state) : "Loading";
    this.state.textContent = word;
    this.element.dataset.state = status?.state ?? "";
    const progress = status ? progressText(status) || (job.title ? `job ${job.id}` : "") : "";
    this.progress.textContent = trouble ? "status unavailable" : progress;
    if (!status || !isThere) return;
    const { store, notices } = this.#app;
    this.title.textContent = titleOf({ ...job, kind: status.kind });
    note(store, job.id, { state: status.state, kind: status.kind });
    if (this.#last && this.#last !== status.state && isOver(status.state))
      notices.announce(`Job ${job.id}: ${word}.`);
    this.#last = status.state;
  }
}

/** The field that opens a job by its number or link. */
class JobFinder {
  constructor(onFound) {
    this.field = make("input", {
      id: "job-number",
      type: "text",
      placeholder: "number or link",
      autocomplete: "off",
      spellcheck: false,
    });
    this.error = make("p", { className: "error bad small", id: "job-number-error" });
    this.element = make(
      "form",
      { className: "finder" },
      make("label", { for: "job-number", className: "small" }, "Open a job"),
      this.field,
      button("Open", undefined, { type: "submit" }),
      this.error,
    );
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      const id = idIn(this.field.value);
      this.setError(id ? "" : "A job number has up to 16 digits; enter it, or a link to the job.");
      if (id) onFound(id);
      if (id) this.field.value = "";
      else this.field.focus();
    });
  }

  setError(text) {
    this.error.textContent = text;
    this.field.setAttribute("aria-invalid", String(Boolean(text)));
    if (text) this.field.setAttribute("aria-describedby", this.error.id);
    else this.field.removeAttribute("aria-describedby");
  }
}
