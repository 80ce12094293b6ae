/** The tab Stacking: explore the results of a finished job, and request other stacks of it. */

import { button, make } from "../../lib/dom.js";
import { counted, sentence } from "../../lib/format.js";
import { idIn, note, remember, storedJobs, titleOf } from "../../results/job_list.js";
import { openResults } from "../../results/results.js";
import { downloadsView } from "./downloads.js";
import { ExploreView } from "./explore.js";
import { imagesView } from "./images.js";
import { provenanceView } from "./provenance.js";
import { RequestForm } from "./request_form.js";

const VIEWS = {
  explore: "Explore",
  images: "Images",
  stack: "New stack",
  files: "Files",
  about: "Provenance",
};
const OF_STACKS = ["explore", "stack"]; // views that need correlations

/**
 * @param {HTMLElement} panel
 * @param {import("../../main.js").App} app
 */
export function mount(panel, app) {
  return new StackingTab(panel, app);
}

class StackingTab {
  #app;
  #id = "";
  #view = "explore";
  #results = null;
  #loading = new AbortController();

  constructor(panel, app) {
    this.#app = app;
    this.jobs = make("select", {
      id: "stacking-job",
      onchange: () => app.tabs.go("stacking", { id: this.jobs.value, view: this.#view }),
    });
    this.summary = make("p", { className: "quiet" });
    this.buttons = Object.entries(VIEWS).map(([name, title]) =>
      button(title, () => this.#switchTo(name), { "data-view": name }),
    );
    this.switcher = make(
      "div",
      { className: "row views", role: "group", ariaLabel: "Views" },
      ...this.buttons,
    );
    this.message = make("div", { className: "card message empty", role: "status" });
    this.explore = new ExploreView(app, (changes) => this.#setAddress(changes));
    this.request = new RequestForm(app, () => this.explore.selection);
    this.panes = Object.fromEntries(
      Object.keys(VIEWS).map((name) => [name, make("div", { hidden: true })]),
    );
    this.panes.explore.append(this.explore.element);
    this.panes.stack.append(this.request.element);
    panel.classList.add("stacking");
    const body = make("div", { className: "body" }, ...Object.values(this.panes));
    panel.append(this.#makeHead(), this.message, body);
    app.store.subscribe("jobs", () => this.#renderJobs());
  }

  #makeHead() {
    const label = make("label", { for: "stacking-job", className: "small" }, "Job");
    return make(
      "div",
      { className: "head" },
      make("h2", {}, "Stacking"),
      make("div", { className: "row" }, label, this.jobs),
      this.summary,
      this.switcher,
    );
  }

  /** Show the job and the view of the address. */
  open(params) {
    const finished = storedJobs(this.#app.store).find((job) => job.state === "done");
    const id = idIn(params.get("id") ?? "") ?? finished?.id ?? "";
    this.#view = params.get("view") in VIEWS ? params.get("view") : "explore";
    if (id === this.#id && this.#results) {
      this.#renderView();
      if (this.#view === "explore") this.explore.applyUrl(params);
      return;
    }
    this.#id = id;
    this.#renderJobs();
    this.#load();
  }

  /** Change the address, without a step in the history. */
  #setAddress(changes) {
    const { tabs } = this.#app;
    tabs.setParams("stacking", { ...Object.fromEntries(tabs.params("stacking")), ...changes });
  }

  #switchTo(name) {
    this.#view = name;
    this.#setAddress({ view: name === "explore" ? "" : name });
    this.#renderView();
  }

  #renderView() {
    const [view, results] = [this.#view, this.#results];
    for (const key of this.buttons)
      key.setAttribute("aria-pressed", String(key.dataset.view === view));
    for (const [name, pane] of Object.entries(this.panes)) pane.hidden = name !== view || !results;
    this.switcher.hidden = !results;
    if (!results) return;
    // Images and lists take their time, so each view is made when it is first shown.
    const makeView = { images: imagesView, files: downloadsView, about: provenanceView }[view];
    const pane = this.panes[view];
    if (makeView && !pane.children.length) pane.append(makeView(results, this.#app));
    if (view === "stack") this.request.suggest(this.explore.selection);
  }

  #renderJobs() {
    const [id, { jobs }] = [this.#id, this];
    const shown = storedJobs(this.#app.store).filter(
      (job) => job.state === "done" || job.id === id,
    );
    jobs.replaceChildren(...shown.map((job) => make("option", { value: job.id }, titleOf(job))));
    if (id && !shown.some((job) => job.id === id))
      jobs.append(make("option", { value: id }, `Job ${id}`));
    jobs.value = id;
    jobs.disabled = jobs.options.length === 0;
  }

  #setMessage(...content) {
    this.message.hidden = content.length === 0;
    this.message.replaceChildren(...content);
  }

  /** Load the results of the job, and show them unless another job was opened meanwhile. */
  async #load() {
    this.#loading.abort();
    const mine = (this.#loading = new AbortController());
    this.#results = null;
    this.summary.textContent = "";
    for (const name of ["images", "files", "about"]) this.panes[name].replaceChildren();
    this.#renderView();
    if (!this.#id) {
      this.#setMessage(...withoutJob());
      return;
    }
    this.#setMessage(make("p", {}, "Loading the results ..."));
    let results;
    try {
      results = await openResults(this.#app.config.results, this.#id, mine.signal);
    } catch (error) {
      if (mine === this.#loading) this.#showFailure(error);
      return;
    }
    if (mine === this.#loading) await this.#show(results);
  }

  #showFailure(error) {
    const id = this.#id;
    this.#setMessage(
      make("p", {}, sentence(`The results of job ${id} cannot be shown: ${error.message}`)),
      make(
        "p",
        { className: "row" },
        button("Try again", () => this.#load()),
        make("a", { href: `#jobs?id=${id}` }, "View job status"),
      ),
    );
  }

  async #show(results) {
    const [id, { store, now }] = [this.#id, this.#app];
    const { manifest, stacks } = results;
    this.#results = results;
    if (!stacks.length && OF_STACKS.includes(this.#view)) this.#view = "images";
    this.#setMessage(...(stacks.length ? [] : [withoutData()]));
    for (const key of this.buttons)
      key.disabled = !stacks.length && OF_STACKS.includes(key.dataset.view);
    this.summary.textContent = summaryOf(manifest);
    remember(store, { id }, now());
    note(store, id, { state: "done", kind: manifest.kind });
    this.request.setJob(
      manifest.kind === "stack" ? String(manifest.request.params?.job ?? "") : id,
    );
    this.#renderView();
    if (!stacks.length) return;
    await this.explore.show(results);
    this.request.suggest(this.explore.selection);
  }
}

function withoutJob() {
  const link = make("a", { href: "#jobs" }, "Jobs");
  return [
    make("p", {}, "No finished jobs in this browser."),
    make("p", {}, "When a job in the tab ", link, " is done, its results appear here."),
  ];
}

function withoutData() {
  const text =
    "No day of this job had data, so there are no correlations. " +
    "See its images and files for the reasons.";
  return make("p", {}, text);
}

function summaryOf({ summary, units, version }) {
  const pairs = Number(summary.pairs);
  const windows = summary.windows_kept;
  const parts = [
    Number.isFinite(pairs) ? counted(pairs, "pair") : "",
    Number.isInteger(units.done) ? `${units.done} ${units.done === 1 ? "day" : "days"}` : "",
    Number.isFinite(windows) ? `${windows.toLocaleString("en")} windows` : "",
    version ? `version ${version}` : "",
  ];
  return parts.filter(Boolean).join(" · ");
}
