/** The details of one job: its progress, its messages, and the actions on it. */

import { button, make } from "../../lib/dom.js";
import { counted, duration } from "../../lib/format.js";
import { ask } from "../../lib/http.js";
import { KINDS, titleOf } from "../../results/job_list.js";
import { pollerOf } from "../../results/poller.js";
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

const MOST_WARNINGS = 200; // lines; the others are in summary.csv
const REFRESH = 10_000; // ms; ages grow while no status arrives
const NOT_FOUND = 120_000; // ms after submission from which a job without a status is reported

export class JobDetail {
  #app;
  #poller;
  #id = "";
  #stored; // the job as this browser stores it
  #stop = () => {};
  #stateBefore = "";
  #last = { status: null, isThere: false, trouble: "" };

  /**
   * @param {import("../../main.js").App} app
   * @param {{onForget: (id: string) => void}} actions
   */
  constructor(app, { onForget }) {
    [this.#app, this.#poller] = [app, pollerOf(app)];
    this.title = make("h3", { id: "job-title" });
    this.state = make("span", { className: "chip" });
    this.progress = make("progress", { max: 1 });
    this.stage = make("p", { className: "stage" });
    this.silence = make("p", { className: "message warn" });
    this.trouble = make("p", { className: "message warn" });
    this.reason = make("p", { className: "reason" });
    this.advice = make("p", { className: "advice" });
    this.failure = make("div", { className: "message bad stack" }, this.reason, this.advice);
    this.facts = make("dl", { className: "facts" });
    this.warnings = new Warnings();
    this.log = new Log();
    this.results = make("a", { className: "button strong" }, "View results");
    this.cancel = new CancelButton(app, () => this.#poller.poll(this.#id));
    this.element = this.#makeElement(onForget);
    setInterval(() => this.#refresh(), REFRESH);
    this.#poller.followService(() => this.#id && this.#render(this.#last));
  }

  #makeElement(onForget) {
    const actions = make(
      "div",
      { className: "row actions no-print" },
      this.results,
      this.cancel.element,
      button("Copy link", () => this.#copyLink()),
      button("Remove", () => onForget(this.#id), {
        className: "plain",
        title: "Remove from this list (results are kept)",
      }),
    );
    return make(
      "section",
      { className: "card detail stack", "aria-labelledby": "job-title" },
      make("div", { className: "row" }, this.title, this.state),
      this.progress,
      this.stage,
      this.silence,
      this.trouble,
      this.failure,
      this.facts,
      actions,
      this.warnings.element,
      this.log.element,
    );
  }

  /** Show a job; "" shows none. `stored`: the job as this browser stores it. */
  show(id, stored) {
    this.element.hidden = !id;
    this.#stored = stored;
    if (id === this.#id) return;
    this.#stop();
    [this.#id, this.#stateBefore] = [id, ""];
    this.title.textContent = titleOf(stored ?? { id });
    this.#render({ status: null, isThere: false, trouble: "" });
    this.#stop = id ? this.#poller.follow(id, (seen) => this.#render(seen)) : () => {};
  }

  #refresh() {
    if (!document.hidden && this.#id && !this.element.hidden) this.#render(this.#last);
  }

  async #copyLink() {
    const { notices } = this.#app;
    const link = `${location.href.split("#")[0]}#jobs?id=${this.#id}`;
    try {
      await navigator.clipboard.writeText(link);
      notices.show("link", "Link copied. Anyone with the link can view and cancel this job.");
    } catch {
      // There is no clipboard without TLS, and the browser may deny access to it.
      notices.show("link", `Link to this job: ${link}`);
    }
  }

  #render(seen) {
    this.#last = seen;
    const { status, isThere, trouble } = seen;
    this.element.setAttribute("aria-busy", String(!status && !trouble));
    setText(
      this.trouble,
      trouble && `The status cannot be read: ${trouble}. This page will retry.`,
    );
    if (status) this.#renderStatus(status, isThere);
    else this.#renderLoading();
  }

  #renderLoading() {
    setText(this.stage, "Loading the status ...");
    const { state, progress, silence, failure, facts, warnings, log, results, cancel } = this;
    for (const part of [state, progress, silence, failure, facts, results]) part.hidden = true;
    for (const part of [warnings, log, cancel]) part.element.hidden = true;
  }

  #renderStatus(status, isThere) {
    const [id, { config, now }] = [this.#id, this.#app];
    const isEnded = isOver(status.state);
    if (status.state !== this.#stateBefore) this.log.element.open = status.state === "failed";
    this.#stateBefore = status.state;
    this.title.textContent = titleOf({ id, kind: status.kind, title: this.#stored?.title });
    this.state.hidden = false;
    this.state.textContent = stateWord(status.state);
    this.element.dataset.state = status.state;
    this.#renderProgress(status);
    setText(this.stage, progressText(status));
    const { service } = this.#poller;
    setText(
      this.silence,
      isThere ? silenceText(status, service, now()) : waitText(this.#stored, service, now()),
    );
    this.#renderFailure(status, isEnded);
    this.#renderFacts(status);
    this.warnings.show(status.warnings);
    this.log.show(status.log);
    this.results.hidden = !(status.state === "done" && status.manifest);
    this.results.href = `#stacking?id=${id}`;
    this.cancel.show(id, !isEnded && Boolean(config.submit));
  }

  #renderProgress(status) {
    const done = share(status);
    this.progress.hidden = isOver(status.state);
    this.progress.ariaLabel = `Progress of job ${this.#id}`;
    if (done === null) this.progress.removeAttribute("value");
    else this.progress.value = done;
  }

  #renderFailure({ state, reason }, isEnded) {
    setText(this.reason, reason);
    setText(this.advice, advice(state, reason));
    const isBad = isEnded && state !== "cancelled";
    this.failure.className = isBad ? "message bad stack" : "message warn stack";
    this.failure.hidden = this.reason.hidden && this.advice.hidden;
  }

  #renderFacts(status) {
    const { kind, started, updated, pairs, days, version } = status;
    const now = this.#app.now();
    const isEnded = isOver(status.state);
    const end = isEnded ? updated : now;
    const facts = [
      ["Number", this.#id],
      ["Kind", KINDS[kind]],
      ["Pairs", pairs ? pairs.toLocaleString("en") : ""],
      ["Days", days[1] ? `${days[0]} of ${days[1]}` : ""],
      ["Started", started ? ago(started, now) : ""],
      [
        isEnded ? "Duration" : "Elapsed",
        started && end ? duration(Math.max(0, end - started) / 1000) : "",
      ],
      ["Last update", updated ? ago(updated, now) : ""],
      ["Version", version],
    ];
    this.facts.hidden = false;
    this.facts.replaceChildren(
      ...facts
        .filter(([, value]) => value)
        .flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]),
    );
  }
}

/** The warnings of a job, folded. */
class Warnings {
  #shown = "";

  constructor() {
    this.summary = make("summary");
    this.list = make("ul", { className: "warnings small" });
    this.element = make("details", {}, this.summary, this.list);
  }

  show(warnings) {
    this.element.hidden = warnings.length === 0;
    this.summary.textContent = counted(warnings.length, "warning");
    const key = JSON.stringify(warnings);
    if (key === this.#shown) return;
    this.#shown = key;
    const lines = warnings.slice(0, MOST_WARNINGS).map(warningText);
    const others = warnings.length - lines.length;
    if (others > 0) lines.push(`and ${others} more; see summary.csv`);
    this.list.replaceChildren(...lines.map((text) => make("li", {}, text)));
  }
}

/** The end of a job's log, folded; it scrolls along while its end is in view. */
class Log {
  constructor() {
    const label = "End of the log";
    this.text = make("pre", { className: "log", tabIndex: 0, role: "region", ariaLabel: label });
    this.element = make("details", {}, make("summary", {}, label), this.text);
  }

  show(lines) {
    this.element.hidden = lines.length === 0;
    const content = lines.join("\n");
    const { text } = this;
    if (text.textContent === content) return;
    const isAtEnd = text.scrollTop + text.clientHeight >= text.scrollHeight - 4;
    text.textContent = content;
    if (isAtEnd) text.scrollTop = text.scrollHeight;
  }
}

/** A button that asks for confirmation before it cancels a job. */
class CancelButton {
  #app;
  #onRequested;
  #id = "";

  /** @param {() => void} onRequested  called after the request, whether it succeeded or not */
  constructor(app, onRequested) {
    [this.#app, this.#onRequested] = [app, onRequested];
    this.message = make("span", { className: "small quiet", role: "status" });
    this.cancel = button("Cancel job", () => this.#ask(true), { className: "danger" });
    this.refuse = button("Keep running", () => this.#ask(false));
    this.question = make(
      "span",
      { className: "row", hidden: true },
      make("span", { className: "small" }, "Cancel this job? Its results so far will be lost."),
      button("Yes, cancel it", () => this.#confirm(), { className: "danger" }),
      this.refuse,
    );
    this.element = make(
      "span",
      { className: "row cancel" },
      this.cancel,
      this.question,
      this.message,
    );
  }

  show(id, isPossible) {
    this.element.hidden = !isPossible;
    if (id === this.#id) return;
    this.#id = id;
    [this.cancel.disabled, this.cancel.hidden, this.question.hidden] = [false, false, true];
    this.message.textContent = "";
  }

  #ask(isAsking) {
    [this.cancel.hidden, this.question.hidden] = [isAsking, !isAsking];
    (isAsking ? this.refuse : this.cancel).focus();
  }

  async #confirm() {
    this.#ask(false);
    this.cancel.disabled = true;
    this.message.textContent = "cancelling ...";
    try {
      const answer = await this.#send();
      if (answer.ok) this.message.textContent = "cancellation requested; this takes a moment";
      else this.message.textContent = `could not cancel: ${await errorOf(answer)}`;
      this.cancel.disabled = answer.ok;
    } catch (error) {
      this.cancel.disabled = false;
      this.message.textContent = `could not cancel: ${error.message}`;
    }
    this.#onRequested();
  }

  #send() {
    return ask(`${this.#app.config.submit}/${this.#id}/cancel`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: "{}",
      silence: 30_000,
    });
  }
}

/** The message of a service that rejects a request, or its status. */
async function errorOf(answer) {
  const unnamed = `the service responded with status ${answer.status}`;
  try {
    const { error } = await answer.json();
    return typeof error === "string" && error ? error : unnamed;
  } catch {
    return unnamed;
  }
}

/** The message about a job that has no status yet; "" where there is no reason for one. */
function waitText(stored, service, now) {
  const age = stored ? now - new Date(stored.sent) : 0;
  if (service.isUp === false)
    return "The service is not responding. Your job is stored and will start when the service is back.";
  if (age > NOT_FOUND)
    return "No status found for this job. If you just submitted it, wait a moment; otherwise check the number. Results expire after a while.";
  return "";
}

function setText(element, text) {
  element.textContent = text || "";
  element.hidden = !text;
}
