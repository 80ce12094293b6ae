/** Polls the status of jobs and of the service, less often while nothing changes. */

import { fetchJson } from "../lib/http.js";
import { isOver, pollDelay, readStatus, serviceText } from "./status.js";

const SILENCE = 20_000; // ms
const SERVICE_EVERY = 20_000; // ms
const pollers = new WeakMap();

/** The one poller of a page: two tabs that follow a job share its requests. */
export function pollerOf(app) {
  if (!pollers.has(app)) pollers.set(app, new Poller(app.config.results, app.now, document));
  return pollers.get(app);
}

/** The URL of a key of the bucket. */
export function keyUrl(results, key) {
  return `${results}/${key.split("/").map(encodeURIComponent).join("/")}`;
}

/**
 * The last status of a job.
 *
 * @typedef {Object} Seen
 * @property {Object|null} status  see readStatus; null before the first answer
 * @property {boolean} isThere     whether there is a status.json
 * @property {string} trouble      why the last request failed; "" where it did not
 */

export class Poller {
  #results;
  #now;
  #page;
  #jobs = new Map();
  #listeners = new Set();
  #timer = 0;
  #raw = null;
  #trouble = "";

  constructor(results, now, page) {
    [this.#results, this.#now, this.#page] = [results, now, page];
    page.addEventListener("visibilitychange", () => {
      if (page.hidden) return this.#pause();
      for (const [id, job] of this.#jobs) if (!isOver(job.seen.status?.state)) this.poll(id);
      if (this.#listeners.size) this.#pollService();
    });
  }

  /**
   * Follow a job until it has ended.
   *
   * @param {string} id
   * @param {(seen: Seen) => void} listener  called after every request, and now if there is a status
   * @returns {() => void}  stops following it
   */
  follow(id, listener) {
    if (!this.#jobs.has(id)) {
      const seen = { status: null, isThere: false, trouble: "" };
      this.#jobs.set(id, {
        seen,
        listeners: new Set(),
        timer: 0,
        failed: 0,
        unchanged: 0,
        text: "",
      });
      queueMicrotask(() => this.poll(id));
    }
    const job = this.#jobs.get(id);
    job.listeners.add(listener);
    if (job.seen.status) listener(job.seen);
    return () => {
      job.listeners.delete(listener);
      if (job.listeners.size) return;
      clearTimeout(job.timer);
      this.#jobs.delete(id);
    };
  }

  /** Request the status of a job now. */
  async poll(id) {
    const job = this.#jobs.get(id);
    if (!job || job.isPolling) return;
    clearTimeout(job.timer);
    job.isPolling = true;
    try {
      const raw = await fetchJson(keyUrl(this.#results, `processed/${id}/status.json`), {
        silence: SILENCE,
      });
      const text = JSON.stringify(raw);
      job.unchanged = text === job.text ? job.unchanged + 1 : 0;
      [job.text, job.failed] = [text, 0];
      job.seen = { status: readStatus(raw), isThere: raw !== null, trouble: "" };
    } catch (error) {
      job.failed += 1;
      job.seen = { ...job.seen, trouble: error.message };
    }
    job.isPolling = false;
    for (const listener of [...job.listeners]) listener(job.seen);
    const isWanted =
      this.#jobs.get(id) === job && !isOver(job.seen.status?.state) && !this.#page.hidden;
    if (isWanted) job.timer = setTimeout(() => this.poll(id), pollDelay(job.unchanged, job.failed));
  }

  /** Follow the heartbeat of the service. */
  followService(listener) {
    this.#listeners.add(listener);
    if (this.#listeners.size === 1) this.#pollService();
    else listener(this.service);
    return () => this.#listeners.delete(listener);
  }

  /** The state of the service, see serviceText. */
  get service() {
    if (this.#trouble)
      return { isUp: null, text: `The state of the service is unknown: ${this.#trouble}.` };
    return serviceText(this.#raw, this.#now());
  }

  async #pollService() {
    clearTimeout(this.#timer);
    try {
      this.#raw = await fetchJson(keyUrl(this.#results, "processed/_service.json"), {
        silence: SILENCE,
      });
      this.#trouble = "";
    } catch (error) {
      this.#trouble = error.message;
    }
    for (const listener of this.#listeners) listener(this.service);
    if (!this.#page.hidden) this.#timer = setTimeout(() => this.#pollService(), SERVICE_EVERY);
  }

  #pause() {
    clearTimeout(this.#timer);
    for (const job of this.#jobs.values()) clearTimeout(job.timer);
  }
}
