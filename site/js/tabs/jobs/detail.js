/** One job in full: how far it is, what it says, and what can be done about it. */

import { button, make } from "../../lib/dom.js";
import { ask } from "../../lib/http.js";
import { counted, duration } from "../../lib/format.js";
import { KINDS, titleOf } from "../../results/job_list.js";
import {
  advice,
  ago,
  isOver,
  progressText,
  share,
  silenceText,
  stateWord,
  warningText,
} from "../../results/status.js";
import { watcherOf } from "../../results/poller.js";

const MOST_WARNINGS = 200; // lines; the rest is in summary.csv

/**
 * @param {import("../../main.js").App} app
 * @param {{onForget: (id: string) => void}} actions
 */
export function openDetail(app, { onForget }) {
  const watcher = watcherOf(app);
  const parts = {
    title: make("h3", { id: "job-title" }),
    state: make("span", { className: "chip" }),
    progress: make("progress", { max: 1 }),
    stage: make("p", { className: "stage" }),
    silence: make("p", { className: "message warn" }),
    trouble: make("p", { className: "message warn" }),
    reason: make("p", { className: "reason" }),
    advice: make("p", { className: "advice" }),
    facts: make("dl", { className: "facts" }),
    warnings: make("ul", { className: "warnings small" }),
    warned: make("summary"),
    log: make("pre", {
      className: "log",
      tabIndex: 0,
      role: "region",
      ariaLabel: "End of the log",
    }),
  };
  const failure = make("div", { className: "message bad stack" }, parts.reason, parts.advice);
  const warnings = make("details", {}, parts.warned, parts.warnings);
  const log = make("details", {}, make("summary", {}, "End of the log"), parts.log);
  const results = make("a", { className: "button strong" }, "View results");
  const actions = make("div", { className: "row actions no-print" });
  const element = make(
    "section",
    { className: "card detail stack", "aria-labelledby": "job-title" },
    make("div", { className: "row" }, parts.title, parts.state),
    parts.progress,
    parts.stage,
    parts.silence,
    parts.trouble,
    failure,
    parts.facts,
    actions,
    warnings,
    log,
  );
  let [id, kept, stop, wasState] = ["", undefined, () => {}, ""];
  let last = { status: null, isThere: false, trouble: "" };
  const cancel = openCancel(app, () => watcher.look(id));
  actions.append(
    results,
    cancel.element,
    button("Copy link", copyLink),
    button("Remove", () => onForget(id), {
      className: "plain",
      title: "Remove from this list (results are kept)",
    }),
  );

  async function copyLink() {
    const link = `${location.href.split("#")[0]}#jobs?id=${id}`;
    try {
      await navigator.clipboard.writeText(link);
      app.notices.show("link", "Link copied. Anyone with the link can view and cancel this job.");
    } catch {
      // Plain http has no clipboard, and people may refuse it.
      app.notices.show("link", `Link to this job: ${link}`);
    }
  }

  function draw(seen) {
    last = seen;
    const { status, isThere, trouble } = seen;
    element.setAttribute("aria-busy", String(!status && !trouble));
    put(parts.trouble, trouble && `The status cannot be read: ${trouble}. This page will retry.`);
    if (!status) {
      put(parts.stage, "Loading the status ...");
      for (const part of [
        parts.state,
        parts.progress,
        parts.silence,
        failure,
        parts.facts,
        warnings,
        log,
        results,
        cancel.element,
      ])
        part.hidden = true;
      return;
    }
    const over = isOver(status.state);
    if (status.state !== wasState) log.open = status.state === "failed";
    wasState = status.state;
    parts.title.textContent = titleOf({ id, kind: status.kind, title: kept?.title });
    parts.state.hidden = false;
    parts.state.textContent = stateWord(status.state);
    element.dataset.state = status.state;
    drawProgress(status);
    put(parts.stage, progressText(status));
    put(
      parts.silence,
      isThere
        ? silenceText(status, watcher.service, app.now())
        : waitText(kept, watcher.service, app.now()),
    );
    put(parts.reason, status.reason);
    put(parts.advice, advice(status.state, status.reason));
    failure.className =
      over && status.state !== "cancelled" ? "message bad stack" : "message warn stack";
    failure.hidden = parts.reason.hidden && parts.advice.hidden;
    drawFacts(status);
    drawList(status.warnings);
    drawLog(status.log);
    results.hidden = !(status.state === "done" && status.manifest);
    results.href = `#stacking?id=${id}`;
    cancel.show(id, !over && Boolean(app.config.submit));
  }

  function drawProgress(status) {
    const done = share(status);
    parts.progress.hidden = isOver(status.state);
    parts.progress.ariaLabel = `Progress of job ${id}`;
    if (done === null) parts.progress.removeAttribute("value");
    else parts.progress.value = done;
  }

  function drawFacts(status) {
    const { started, updated, pairs, version } = status;
    const end = isOver(status.state) ? updated : app.now();
    const facts = [
      ["Number", id],
      ["Kind", KINDS[status.kind]],
      ["Pairs", pairs ? pairs.toLocaleString("en") : ""],
      ["Days", status.days[1] ? `${status.days[0]} of ${status.days[1]}` : ""],
      ["Started", started ? ago(started, app.now()) : ""],
      [
        isOver(status.state) ? "Duration" : "Elapsed",
        started && end ? duration(Math.max(0, end - started) / 1000) : "",
      ],
      ["Last update", updated ? ago(updated, app.now()) : ""],
      ["Version", version],
    ];
    parts.facts.hidden = false;
    parts.facts.replaceChildren(
      ...facts
        .filter(([, value]) => value)
        .flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]),
    );
  }

  function drawList(found) {
    warnings.hidden = found.length === 0;
    parts.warned.textContent = counted(found.length, "warning");
    const shown = found
      .slice(0, MOST_WARNINGS)
      .map((warning) => make("li", {}, warningText(warning)));
    if (found.length > MOST_WARNINGS)
      shown.push(make("li", {}, `and ${found.length - MOST_WARNINGS} more; see summary.csv`));
    if (warnings.dataset.shown !== JSON.stringify(found)) parts.warnings.replaceChildren(...shown);
    warnings.dataset.shown = JSON.stringify(found);
  }

  function drawLog(lines) {
    log.hidden = lines.length === 0;
    const text = lines.join("\n");
    if (parts.log.textContent === text) return;
    const isAtEnd = parts.log.scrollTop + parts.log.clientHeight >= parts.log.scrollHeight - 4;
    parts.log.textContent = text;
    if (isAtEnd) parts.log.scrollTop = parts.log.scrollHeight;
  }

  // Ages grow while nothing is heard.
  setInterval(() => !document.hidden && id && !element.hidden && draw(last), 10_000);
  watcher.followService(() => id && draw(last));

  return {
    element,
    /** Show a job; "" shows none. */
    show(wanted, job) {
      element.hidden = !wanted;
      kept = job;
      if (wanted === id) return;
      stop();
      [id, wasState] = [wanted, ""];
      parts.title.textContent = titleOf(job ?? { id });
      draw({ status: null, isThere: false, trouble: "" });
      stop = id ? watcher.follow(id, draw) : () => {};
    },
  };
}

/** What to say of a job that has no status yet. */
function waitText(kept, service, now) {
  const age = kept ? now - new Date(kept.sent) : 0;
  if (service.isUp === false)
    return "The service is not responding. Your job is stored and will start when the service is back.";
  if (age > 120_000)
    return "No status found for this job. If you just submitted it, wait a moment; otherwise check the number. Results expire after a while.";
  return "";
}

/** A button that asks again before it ends a job. */
function openCancel(app, onAsked) {
  const told = make("span", { className: "small quiet", role: "status" });
  const first = button("Cancel job", () => turn(true), { className: "danger" });
  const sure = button("Yes, cancel it", stopIt, { className: "danger" });
  const no = button("Keep running", () => turn(false));
  const question = make(
    "span",
    { className: "row" },
    make("span", { className: "small" }, "Cancel this job? Its results so far will be lost."),
    sure,
    no,
  );
  const element = make("span", { className: "row cancel" }, first, question, told);
  question.hidden = true;
  let id = "";

  function turn(isAsking) {
    [first.hidden, question.hidden] = [isAsking, !isAsking];
    (isAsking ? no : first).focus();
  }

  async function stopIt() {
    turn(false);
    first.disabled = true;
    told.textContent = "cancelling ...";
    try {
      const request = {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: "{}",
        silence: 30_000,
      };
      const answer = await ask(`${app.config.submit}/${id}/cancel`, request);
      if (answer.ok) told.textContent = "cancellation requested; this takes a moment";
      else
        told.textContent = `could not cancel: ${(await errorOf(answer)) || `the service responded with status ${answer.status}`}`;
      first.disabled = answer.ok;
    } catch (error) {
      first.disabled = false;
      told.textContent = `could not cancel: ${error.message}`;
    }
    onAsked();
  }

  return {
    element,
    show(wanted, isPossible) {
      element.hidden = !isPossible;
      if (wanted === id) return;
      id = wanted;
      [first.disabled, first.hidden, question.hidden, told.textContent] = [false, false, true, ""];
    },
  };
}

/** The words of a service that refuses; "" where it has none. */
async function errorOf(answer) {
  try {
    const said = (await answer.json()).error;
    return typeof said === "string" ? said : "";
  } catch {
    return "";
  }
}

function put(element, text) {
  element.textContent = text || "";
  element.hidden = !text;
}
