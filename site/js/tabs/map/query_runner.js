/** A query from the press of its button to its end, told as it goes. */

import { button, make } from "../../lib/dom.js";
import { HttpError } from "../../lib/http.js";
import { grouped } from "../../lib/python_numbers.js";
import { counted } from "../../lib/format.js";
import { fetchChannels, MAX_ROWS } from "./fetch_channels.js";
import { asStationXml, onlyMatching, queryUrls } from "./query.js";

/**
 * @param {Object} form  see filter_form.js
 * @returns {{run: (query: Object) => Promise<Object[]|null>, cancel: () => void}}  `run` gives the
 *     channels found, or null where there was no answer or it was cancelled
 */
export function queryRunner(form) {
  let controller = null;

  async function run(query) {
    controller?.abort();
    const mine = (controller = new AbortController());
    const centre = form.chosenCentre();
    const urls = queryUrls(centre.url, query);
    let [bytes, waits] = [0, 0];
    const began = performance.now();
    const tell = () => {
      const seconds = Math.floor((performance.now() - began) / 1000);
      const size = bytes ? `, ${grouped(bytes / 1000)} kB so far` : "";
      const busy = waits
        ? ` ${centre.title} is busy; retrying in ${counted(waits--, "second")}.`
        : "";
      form.setStatus("", make("p", {}, `Querying ${centre.title}: ${seconds} s${size}.${busy}`));
    };
    form.setBusy(true);
    tell();
    const clock = setInterval(tell, 1000);
    try {
      const answer = await fetchChannels(urls, {
        signal: mine.signal,
        onBytes: (n) => (bytes = n),
        onWait(seconds) {
          waits = seconds;
          tell();
        },
      });
      const channels = onlyMatching(answer.channels, query);
      sayFound(channels, answer, urls);
      return channels;
    } catch (error) {
      if (mine.signal.aborted) {
        if (mine === controller)
          form.setStatus("", make("p", {}, "Cancelled; the previous results are kept."));
        return null;
      }
      if (!(error instanceof HttpError)) throw error;
      sayTrouble(error, urls);
      return null;
    } finally {
      clearInterval(clock);
      if (mine === controller) {
        controller = null;
        form.setBusy(false);
      }
    }
  }

  function sayFound(channels, { rejected, isCut }, urls) {
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
    form.setStatus(
      notes.length || !channels.length ? "warn" : "",
      make("p", {}, text),
      ...notes.map((note) => make("p", {}, note)),
      addresses(urls),
    );
  }

  function sayTrouble(error, urls) {
    const said =
      error.body.trim() &&
      make(
        "details",
        { open: error.status === 400 },
        make("summary", {}, "Response of the service"),
        make("pre", {}, error.body.trim()),
      );
    form.setStatus(
      "bad",
      make("p", {}, `${error.message[0].toUpperCase()}${error.message.slice(1)}.`),
      said,
      addresses(urls),
    );
  }

  return { run, cancel: () => controller?.abort(new DOMException("cancelled", "AbortError")) };
}

/** The addresses that were asked, to be opened by hand or copied. */
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
        getSelection().selectAllChildren(list); // a page without https may not write the clipboard
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
