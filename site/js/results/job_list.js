/** The jobs that this browser follows: kept in the store under "jobs", newest first. */

const ID = /^[0-9]{1,16}$/;

export const KINDS = { xcor: "Correlation", stack: "Stacking" };

/**
 * A job as the browser keeps it; what the service says of it is in its status.json.
 *
 * @typedef {Object} Kept
 * @property {string} id
 * @property {string} kind   "xcor" or "stack"; "" where it is not known yet
 * @property {string} title  what a person calls it, such as "24 channels, 0.1 to 0.2 Hz"
 * @property {string} sent   when this browser sent or opened it, ISO 8601
 * @property {string} state  the last that was seen of it
 */

/** The kept jobs; whatever else the store holds is left out. */
export function keptJobs(store) {
  const jobs = store.get("jobs");
  return (Array.isArray(jobs) ? jobs : []).filter((job) => ID.test(job?.id));
}

/**
 * Follow a job from now on; one that is followed already keeps its place and what was known.
 *
 * @param {Object} store
 * @param {{id: string|number, kind?: string, title?: string}} job
 * @param {Date} now
 */
export function remember(store, { id, kind = "", title = "" }, now) {
  const wanted = String(id);
  if (keptJobs(store).some((job) => job.id === wanted)) return;
  const job = { id: wanted, kind, title, sent: now.toISOString(), state: "" };
  store.set("jobs", [job, ...keptJobs(store)]);
}

/** Write down what was learnt of a job; nothing happens where it is not followed, or not new. */
export function note(store, id, changes) {
  const before = keptJobs(store).find((job) => job.id === id);
  const isNew = before && Object.keys(changes).some((key) => before[key] !== changes[key]);
  if (isNew)
    store.set(
      "jobs",
      keptJobs(store).map((job) => (job.id === id ? { ...job, ...changes } : job)),
    );
}

/** What a job is called. */
export function titleOf({ id, kind, title }) {
  return title || (KINDS[kind] ? `${KINDS[kind]} job ${id}` : `Job ${id}`);
}

/** Follow a job no longer; what the service has of it stays. */
export function forget(store, id) {
  store.set(
    "jobs",
    keptJobs(store).filter((job) => job.id !== id),
  );
}

/**
 * The id in what a person typed or pasted: a number, or a link with one.
 *
 * @param {string} text  such as "4180812345678901", ".../#jobs?id=41" or ".../processed/41/status.json"
 * @returns {string|null}
 */
export function idIn(text) {
  const plain = text.trim();
  if (ID.test(plain)) return plain;
  const found = /(?:[?&#/]id=|#(?:jobs|stacking)\/|\/processed\/)([0-9]{1,16})(?![0-9])/.exec(
    plain,
  );
  return found ? found[1] : null;
}
