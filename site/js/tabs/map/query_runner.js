/** A query of a data centre, and its state while it runs. */

import { button, make } from "../../lib/dom.js";
import { counted, sentence } from "../../lib/format.js";
import { HttpError } from "../../lib/http.js";
import { grouped } from "../../lib/python_numbers.js";
import { fetchChannels, MAX_ROWS } from "./fetch_channels.js";
import { asStationXml, onlyMatching, queryUrls } from "./query.js";

export class QueryRunner {
  #form;
  #controller = null;

  /** @param {import("./filter_form.js").FilterForm} form  shows the state of the query */
  constructor(form) {
    this.#form = form;
  }

  /**
   * Send a query; one that is running is cancelled.
   *
   * @param {Object} query  of `readFilters`
   * @returns {Promise<Object[]|null>}  the channels found; null where it failed or was cancelled
   */
  async run(query) {
    this.#controller?.abort();
    const mine = (this.#controller = new AbortController());
    const centre = this.#form.chosenCentre;
    const urls = queryUrls(centre.url, query);
    const progress = new Progress(this.#form, centre.title);
    this.#form.setBusy(true);
    try {
      const answer = await fetchChannels(urls, {
        signal: mine.signal,
        onBytes: (n) => progress.setBytes(n),
        onWait: (seconds) => progress.setWait(seconds),
      });
      const channels = onlyMatching(answer.channels, query);
      this.#showFound(channels, answer, urls);
      return channels;
    } catch (error) {
      this.#showError(error, mine, urls);
      return null;
    } finally {
      progress.stop();
      if (mine === this.#controller) {
        this.#controller = null;
        this.#form.setBusy(false);
      }
    }
  }

  cancel() {
    this.#controller?.abort(new DOMException("cancelled", "AbortError"));
  }

  #showError(error, mine, urls) {
    if (mine.signal.aborted) {
      const text = "Cancelled; the previous results are kept.";
      if (mine === this.#controller) this.#form.setStatus("", make("p", {}, text));
      return;
    }
    if (!(error instanceof HttpError)) throw error;
    this.#showFailure(error, urls);
  }

  #showFound(channels, { rejected, isCut }, urls) {
    const notes = [];
    if (isCut)
      notes.push(
        `The response was truncated: only the first ${grouped(MAX_ROWS)} rows were read. Narrow the query to see the rest.`,
      );
    if (rejected.length)
      notes.push(
        `${counted(rejected.length, "line")} of the response could not be read and ${rejected.length === 1 ? "is" : "are"} left out: ${rejected[0]}.`,
      );
    const text = channels.length
      ? `Found ${counted(channels.length, "channel")}.`
      : "No channels match. Widen the codes, the time or the area; codes without wildcards match exactly.";
    this.#form.setStatus(
      notes.length || !channels.length ? "warn" : "",
      ...[text, ...notes].map((line) => make("p", {}, line)),
      addresses(urls),
    );
  }

  #showFailure({ message, status, body }, urls) {
    const response =
      body.trim() &&
      make(
        "details",
        { open: status === 400 },
        make("summary", {}, "Response of the service"),
        make("pre", {}, body.trim()),
      );
    this.#form.setStatus("bad", make("p", {}, sentence(message)), response, addresses(urls));
  }
}

/** The progress of a query, shown in the form once a second. */
class Progress {
  #form;
  #title;
  #bytes = 0;
  #wait = 0; // s until the next attempt
  #began = performance.now();

  constructor(form, title) {
    [this.#form, this.#title] = [form, title];
    this.#show();
    this.timer = setInterval(() => this.#show(), 1000);
  }

  setBytes(n) {
    this.#bytes = n;
  }

  setWait(seconds) {
    this.#wait = seconds;
    this.#show();
  }

  stop() {
    clearInterval(this.timer);
  }

  #show() {
    const seconds = Math.floor((performance.now() - this.#began) / 1000);
    const size = this.#bytes ? `, ${grouped(this.#bytes / 1000)} kB so far` : "";
    const busy = this.#wait
      ? ` ${this.#title} is busy; retrying in ${counted(this.#wait--, "second")}.`
      : "";
    const text = `Querying ${this.#title}: ${seconds} s${size}.${busy}`;
    this.#form.setStatus("", make("p", {}, text));
  }
}

/** The addresses of a query, to be opened or copied. */
function addresses(urls) {
  const link = (url, text) => make("a", { href: url, target: "_blank", rel: "noopener" }, text);
  const lines = urls.map((url) => link(url, make("span", { className: "mono" }, url)));
  const xml = urls.map((url) =>
    link(asStationXml(url), "StationXML with responses for this query"),
  );
  const copy = button(
    "Copy",
    async () => {
      try {
        await navigator.clipboard.writeText(urls.join("\n"));
        copy.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(list); // there is no clipboard without TLS
      }
    },
    { className: "plain" },
  );
  const list = make("div", { className: "addresses" }, ...lines);
  return make(
    "details",
    { className: "small" },
    make("summary", {}, "Query URL"),
    list,
    copy,
    ...xml,
  );
}
