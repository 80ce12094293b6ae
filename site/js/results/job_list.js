/** The jobs that this browser follows: stored under "jobs", newest first. */

import { JOB_ID, isJobId } from "../lib/job_id.js";

const JOB_LINK = new RegExp(`(?:[?&#/]id=|#(?:jobs|stacking)/|/processed/)(${JOB_ID})(?![0-9])`);

export const KINDS = { xcor: "Correlation", stack: "Stacking" };

/**
 * A job as the browser stores it; its status is in status.json.
 *
 * @typedef {Object} StoredJob
 * @property {string} id
 * @property {string} kind   "xcor" or "stack"; "" while unknown
 * @property {string} title  such as "24 channels, 0.1 to 0.2 Hz"
 * @property {string} sent   when this browser sent or opened it, ISO 8601
 * @property {string} state  its last known state
 */

/** The stored jobs, without invalid entries. */
export function storedJobs(store) {
  const jobs = store.get("jobs");
  return (Array.isArray(jobs) ? jobs : []).filter((job) => isJobId(job?.id));
}

/**
 * Follow a job from now on; nothing changes for one that is followed already.
 *
 * @param {Object} store
 * @param {{id: string|number, kind?: string, title?: string}} job
 * @param {Date} now
 */
export function remember(store, { id, kind = "", title = "" }, now) {
  const wanted = String(id);
  if (storedJobs(store).some((job) => job.id === wanted)) return;
  const job = { id: wanted, kind, title, sent: now.toISOString(), state: "" };
  store.set("jobs", [job, ...storedJobs(store)]);
}

/** Update a stored job; nothing happens where it is not followed, or nothing has changed. */
export function note(store, id, changes) {
  const before = storedJobs(store).find((job) => job.id === id);
  const isNew = before && Object.keys(changes).some((key) => before[key] !== changes[key]);
  if (isNew)
    store.set(
      "jobs",
      storedJobs(store).map((job) => (job.id === id ? { ...job, ...changes } : job)),
    );
}

/** The title of a job. */
export function titleOf({ id, kind, title }) {
  return title || (KINDS[kind] ? `${KINDS[kind]} job ${id}` : `Job ${id}`);
}

/** Stop following a job; its results stay on the service. */
export function forget(store, id) {
  store.set(
    "jobs",
    storedJobs(store).filter((job) => job.id !== id),
  );
}

/**
 * The job id in typed or pasted text: a number, or a link with one.
 *
 * @param {string} text  such as "4180812345678901", ".../#jobs?id=41" or ".../processed/41/status.json"
 * @returns {string|null}
 */
export function idIn(text) {
  const plain = text.trim();
  if (isJobId(plain)) return plain;
  const found = JOB_LINK.exec(plain);
  return found ? found[1] : null;
}
