/** HTTP requests; every failure is an HttpError with a message for people. */

const SILENCE = 60_000; // ms without a byte after which a request is aborted

/** A failed request; `message` is for people. */
export class HttpError extends Error {
  /**
   * @param {string} message
   * @param {{status?: number, body?: string, retryAfter?: string|null}} [answer]  status 0: there
   *     was no response
   */
  constructor(message, { status = 0, body = "", retryAfter = null } = {}) {
    super(message);
    this.name = "HttpError";
    this.status = status;
    this.body = body;
    this.retryAfter = retryAfter;
  }
}

/**
 * Fetch, with a message where a service does not respond.
 *
 * @param {string} url
 * @param {RequestInit & {silence?: number}} [options]  `silence`: ms until the request is aborted
 * @returns {Promise<Response>}  whatever its status
 * @throws {HttpError} if there is no response; the signal's reason if it was aborted
 */
export async function ask(url, { silence = SILENCE, signal, ...init } = {}) {
  const controller = new AbortController();
  const abort = () => controller.abort(signal.reason);
  if (signal?.aborted) throw signal.reason;
  signal?.addEventListener("abort", abort); // stays, so that the body can be aborted, too
  const late = new HttpError(
    `${hostOf(url)} has not responded for ${Math.round(silence / 1000)} s`,
  );
  const timer = setTimeout(() => controller.abort(late), silence);
  try {
    return await fetch(url, { ...init, signal: controller.signal });
  } catch {
    if (controller.signal.aborted) throw controller.signal.reason;
    throw new HttpError(
      `${hostOf(url)} cannot be reached from this page: the network or the service is down, ` +
        "or the service does not allow cross-origin requests (CORS)",
    );
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Read the body of a response, up to a limit.
 *
 * @param {Response} response
 * @param {{limit?: number, silence?: number, signal?: AbortSignal, onBytes?: (n: number) => void}} [options]
 *     `limit`: bytes after which reading stops
 * @returns {Promise<{text: string, isCut: boolean}>}
 * @throws {HttpError} if the connection ends before the body does
 */
export async function readBody(
  response,
  { limit = Infinity, silence = SILENCE, signal, onBytes } = {},
) {
  if (!response.body) return { text: "", isCut: false };
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let [text, bytes] = ["", 0];
  try {
    for (;;) {
      const { done, value } = await withinTime(reader.read(), silence, response.url);
      if (done) return { text: text + decoder.decode(), isCut: false };
      bytes += value.length;
      text += decoder.decode(value, { stream: true });
      onBytes?.(bytes);
      if (bytes > limit) {
        await reader.cancel();
        return { text, isCut: true };
      }
    }
  } catch (error) {
    reader.cancel().catch(() => {}); // it may have ended already
    if (signal?.aborted) throw signal.reason;
    if (error instanceof HttpError) throw error;
    throw new HttpError(
      `the response from ${hostOf(response.url)} was cut off after ${bytes} bytes`,
    );
  }
}

/**
 * Fetch a JSON object; null while it does not exist.
 *
 * Without the permission to list, S3 responds with 403 to a missing key.
 */
export async function fetchJson(url, options = {}) {
  const answer = await ask(url, { cache: "no-cache", ...options });
  if (answer.status === 403 || answer.status === 404) return null;
  if (!answer.ok)
    throw new HttpError(`${hostOf(url)} responded with status ${answer.status}`, {
      status: answer.status,
    });
  try {
    return await answer.json();
  } catch {
    if (options.signal?.aborted) throw options.signal.reason;
    throw new HttpError(`${hostOf(url)} returned invalid JSON`, {
      status: answer.status,
    });
  }
}

/** The host of a URL, for messages. */
export function hostOf(url) {
  return new URL(url, globalThis.location?.href).host;
}

async function withinTime(promise, ms, url) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(
      () =>
        reject(
          new HttpError(`${hostOf(url)} has sent no more data for ${Math.round(ms / 1000)} s`),
        ),
      ms,
    );
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
