/** What the results bucket says about a job; knows no page. */

const ENDS = ["done", "failed", "rejected", "cancelled"];

/** Whether a job in this state will not change again. */
export function isOver(state) {
  return ENDS.includes(state);
}

/**
 * The ids in a page's hash.
 *
 * @param {string} hash  e.g. "#jobs=12,345"
 * @returns {string[]}  numbers of up to 16 digits; all else is left out
 */
export function idsIn(hash) {
  const text = new URLSearchParams(hash.replace(/^#/, "")).get("jobs") ?? "";
  return [...new Set(text.split(",").filter((id) => /^[0-9]{1,16}$/.test(id)))];
}

/** The hash that `idsIn` reads back. */
export function hashOf(ids) {
  return `#jobs=${ids.join(",")}`;
}

/**
 * The sentence beside a progress bar.
 *
 * @param {{stage?: string, days?: number[], eta_s?: number|null}} status
 */
export function progressText(status) {
  const [done, all] = status.days ?? [0, 0];
  const days = all ? `${done} of ${all} ${all === 1 ? "day" : "days"}` : "";
  const left = status.eta_s > 0 ? `about ${duration(status.eta_s)} left` : "";
  return [status.stage, days, left].filter(Boolean).join(", ");
}

/** 95 -> "2 min". */
export function duration(seconds) {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

/** 1536 -> "1.5 kB", in powers of 1000. */
export function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), units.length - 1);
  return `${(bytes / 1000 ** power).toPrecision(3)} ${units[power]}`;
}

/** The images of a manifest, each with the key of its text where there is one. */
export function imagesOf(manifest) {
  const keys = new Set(manifest.files.map((file) => file.key));
  return manifest.files
    .filter((file) => file.key.endsWith(".png"))
    .map((file) => ({ key: file.key, text: file.key.replace(/png$/, "txt") }))
    .map((image) => (keys.has(image.text) ? image : { key: image.key, text: null }));
}

/** The last part of a key below its attempt: CORR/2019-01-01.h5. */
export function shortName(key) {
  return key.replace(/^processed\/[0-9]+\/(runs\/[^/]+\/)?/, "");
}

/**
 * Fetch a JSON object of the bucket; null while it is not there.
 *
 * Without the right to list, S3 answers 403 for a missing key.
 */
export async function fetchJson(url) {
  const answer = await fetch(url, { cache: "no-cache" });
  if (answer.status === 403 || answer.status === 404) return null;
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}`);
  return answer.json();
}
