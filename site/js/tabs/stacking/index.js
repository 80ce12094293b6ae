/** The tab Stacking: look at the results of a finished job, and have them stacked in another way. */

import { button, make } from "../../lib/dom.js";
import { idIn, keptJobs, note, remember, titleOf } from "../../results/job_list.js";
import { aboutView } from "./provenance.js";
import { downloadsView } from "./downloads.js";
import { openExplore } from "./explore.js";
import { imagesView } from "./images.js";
import { openRequest } from "./request_form.js";
import { openResults } from "../../results/results.js";
import { sentence } from "../../lib/format.js";

const VIEWS = {
  explore: "Explore",
  images: "Images",
  stack: "New stack",
  files: "Files",
  about: "Provenance",
};

/**
 * @param {HTMLElement} panel
 * @param {import("../../main.js").App} app
 */
export function mount(panel, app) {
  let [id, view, results] = ["", "explore", null];
  let loading = new AbortController();

  const jobs = make("select", {
    id: "stacking-job",
    onchange: () => app.tabs.go("stacking", { id: jobs.value, view }),
  });
  const summary = make("p", { className: "quiet" });
  const keys = Object.entries(VIEWS).map(([name, title]) =>
    button(title, () => turnTo(name), { "data-view": name }),
  );
  const switcher = make(
    "div",
    { className: "row views", role: "group", ariaLabel: "Views" },
    ...keys,
  );
  const state = make("div", { className: "card message empty", role: "status" });
  const body = make("div", { className: "body" });
  const explore = openExplore(app, keep);
  const request = openRequest(app, () => explore.known);
  const places = Object.fromEntries(
    Object.keys(VIEWS).map((name) => [name, make("div", { hidden: true })]),
  );
  places.explore.append(explore.element);
  places.stack.append(request.element);
  body.append(...Object.values(places));
  panel.classList.add("stacking");
  panel.append(
    make(
      "div",
      { className: "head" },
      make("h2", {}, "Stacking"),
      make(
        "div",
        { className: "row" },
        make("label", { for: "stacking-job", className: "small" }, "Job"),
        jobs,
      ),
      summary,
      switcher,
    ),
    state,
    body,
  );

  /** Say what is looked at in the address, without a step in the history. */
  function keep(changes) {
    app.tabs.setParams("stacking", {
      ...Object.fromEntries(app.tabs.params("stacking")),
      ...changes,
    });
  }

  function turnTo(name) {
    view = name;
    keep({ view: name === "explore" ? "" : name });
    drawView();
  }

  function drawView() {
    for (const key of keys) key.setAttribute("aria-pressed", String(key.dataset.view === view));
    for (const [name, place] of Object.entries(places)) place.hidden = name !== view || !results;
    switcher.hidden = !results;
    if (!results) return;
    // Made when it is first looked at: images and lists take their time.
    if (view === "images" && !places.images.children.length)
      places.images.append(imagesView(results));
    if (view === "files" && !places.files.children.length)
      places.files.append(downloadsView(results, app));
    if (view === "about" && !places.about.children.length) places.about.append(aboutView(results));
    if (view === "stack") request.suggest(explore.known);
  }

  function drawJobs() {
    const done = keptJobs(app.store).filter((job) => job.state === "done" || job.id === id);
    jobs.replaceChildren(...done.map((job) => make("option", { value: job.id }, titleOf(job))));
    if (id && !done.some((job) => job.id === id))
      jobs.append(make("option", { value: id }, `Job ${id}`));
    jobs.value = id;
    jobs.disabled = jobs.options.length === 0;
  }

  function tell(...content) {
    state.hidden = content.length === 0;
    state.replaceChildren(...content);
  }

  async function load() {
    loading.abort();
    const mine = (loading = new AbortController());
    results = null;
    summary.textContent = "";
    for (const name of ["images", "files", "about"]) places[name].replaceChildren();
    drawView();
    if (!id) {
      tell(
        make("p", {}, "No finished jobs in this browser."),
        make(
          "p",
          {},
          "When a job in the tab ",
          make("a", { href: "#jobs" }, "Jobs"),
          " is done, its results appear here.",
        ),
      );
      return;
    }
    tell(make("p", {}, "Loading the results ..."));
    try {
      const opened = await openResults(app.config.results, id, mine.signal);
      if (mine !== loading) return;
      results = opened;
    } catch (error) {
      if (mine !== loading) return;
      tell(
        make("p", {}, sentence(`The results of job ${id} cannot be shown: ${error.message}`)),
        make(
          "p",
          { className: "row" },
          button("Try again", load),
          make("a", { href: `#jobs?id=${id}` }, "View job status"),
        ),
      );
      return;
    }
    if (!results.stacks.length) {
      view = ["explore", "stack"].includes(view) ? "images" : view;
      tell(
        make(
          "p",
          {},
          "No day of this job had data, so there are no correlations. See its images and files for the reasons.",
        ),
      );
    } else tell();
    for (const key of keys)
      key.disabled = !results.stacks.length && ["explore", "stack"].includes(key.dataset.view);
    summary.textContent = summaryOf(results.manifest);
    remember(app.store, { id }, app.now());
    note(app.store, id, { state: "done", kind: results.manifest.kind });
    request.use(
      results.manifest.kind === "stack" ? String(results.manifest.request.params?.job ?? "") : id,
    );
    drawView();
    if (!results.stacks.length) return;
    await explore.use(results);
    request.suggest(explore.known);
  }

  app.store.subscribe("jobs", drawJobs);
  return {
    open(params) {
      const wanted =
        idIn(params.get("id") ?? "") ??
        keptJobs(app.store).find((job) => job.state === "done")?.id ??
        "";
      view = params.get("view") in VIEWS ? params.get("view") : "explore";
      if (wanted === id && results) {
        drawView();
        if (view === "explore") explore.go(params);
        return;
      }
      id = wanted;
      drawJobs();
      load();
    },
  };
}

function summaryOf({ summary, units, version }) {
  const pairs = Number(summary.pairs);
  const parts = [
    Number.isFinite(pairs) ? `${pairs.toLocaleString("en")} ${pairs === 1 ? "pair" : "pairs"}` : "",
    Number.isInteger(units.done) ? `${units.done} ${units.done === 1 ? "day" : "days"}` : "",
    Number.isFinite(summary.windows_kept)
      ? `${summary.windows_kept.toLocaleString("en")} windows`
      : "",
    version ? `version ${version}` : "",
  ];
  return parts.filter(Boolean).join(" · ");
}
