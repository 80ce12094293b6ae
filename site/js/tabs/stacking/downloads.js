/** All files of a job, and commands for a terminal that download them. */

import { button, download, make } from "../../lib/dom.js";
import { counted, sentence, size } from "../../lib/format.js";
import { awsLine, curlAll, curlFile } from "./download_commands.js";
import { loadFile } from "../../results/byte_ranges.js";
import { zipOf } from "../../results/zip.js";

const BY_LINK = 32e6; // bytes; larger files are downloaded by the browser itself
const IN_ZIP = 400e6; // bytes that a browser can hold in memory
const SHOWN = 100; // files in the list; the commands download all of them

/**
 * @param {import("../../results/results.js").Results} results
 * @param {import("../../main.js").App} app
 */
export function downloadsView(results, app) {
  const list = new FileList(results);
  return make("div", { className: "stack" }, commandsCard(results, app), list.element);
}

/** All files of a job as a ZIP or with commands. */
function commandsCard(results, app) {
  const { manifest } = results;
  const bucket = app.config.results;
  const bytes = manifest.files.reduce((sum, file) => sum + file.size, 0);
  const example = manifest.files.find(({ name }) => name.endsWith(".h5")) ?? manifest.files[0];
  const commands = [
    ["With curl", curlAll(bucket, manifest.id)],
    [
      "With the AWS CLI (requires permission to list the bucket)",
      awsLine(bucket, `processed/${manifest.id}/`),
    ],
    ["One file with curl", example && curlFile(results.url(example))],
    ["One file with the AWS CLI", example && awsLine(bucket, example.key)],
  ];
  return make(
    "div",
    { className: "card stack" },
    make("h3", {}, `All files: ${counted(manifest.files.length, "file")}, ${size(bytes)}`),
    zipRow(results, bytes),
    make(
      "p",
      { className: "small quiet" },
      "Commands for a terminal; run a command again to resume an interrupted download. Anyone with the job number can read its files.",
    ),
    ...commands.map(([title, command]) => terminalLine(title, command, app)),
  );
}

/** The files of a job, with a filter. */
class FileList {
  #results;

  constructor(results) {
    this.#results = results;
    this.filter = make("input", {
      type: "search",
      id: "file-text",
      placeholder: "STACK",
      autocomplete: "off",
      oninput: () => this.#render(),
    });
    this.rows = make("tbody");
    this.count = make("p", { className: "small quiet" });
    const label = make("label", { for: "file-text" }, "Filter files");
    this.element = make(
      "div",
      { className: "card stack" },
      make("div", { className: "field" }, label, this.filter),
      make(
        "div",
        { className: "scroll files", tabIndex: 0, role: "region", ariaLabel: "Files" },
        make("table", { className: "data" }, tableHead(), this.rows),
      ),
      this.count,
    );
    this.#render();
  }

  #render() {
    const text = this.filter.value.trim().toLowerCase();
    const { files } = this.#results.manifest;
    const found = files.filter(({ name }) => name.toLowerCase().includes(text));
    this.rows.replaceChildren(...found.slice(0, SHOWN).map((file) => fileRow(file, this.#results)));
    const all = counted(found.length, "file");
    this.count.textContent =
      found.length > SHOWN
        ? `${SHOWN} of ${all} are listed; search for others, or download all with a command above.`
        : all;
  }
}

function tableHead() {
  const cells = ["File", "Size", "SHA-256"].map((text) =>
    make(
      "th",
      { scope: "col", className: text === "Size" ? "number" : "" },
      make("span", {}, text),
    ),
  );
  return make("thead", {}, make("tr", {}, ...cells));
}

/** A button for a ZIP of all files, where a browser can hold it. */
function zipRow(results, all) {
  const { manifest } = results;
  const state = make("span", { className: "small quiet", role: "status" });
  if (all > IN_ZIP)
    return make(
      "p",
      { className: "small" },
      "Too large for a single download in the browser; use a command below.",
    );
  const key = button("Download all as ZIP", async () => {
    key.disabled = true;
    const files = [];
    try {
      for (const file of manifest.files) {
        state.textContent = `${files.length} of ${counted(manifest.files.length, "file")} ...`;
        files.push({
          name: `${manifest.id}/${file.name}`,
          bytes: await loadFile(results.url(file), { size: file.size }),
        });
      }
      download(`xcor_${manifest.id}.zip`, zipOf(files, new Date(manifest.started || 0)));
      state.textContent = "";
    } catch (error) {
      state.textContent = sentence(error.message);
    } finally {
      key.disabled = false;
    }
  });
  return make("div", { className: "row" }, key, state);
}

function fileRow(file, results) {
  const state = make("span", { className: "small bad", role: "status" });
  const open = make("a", { href: results.url(file), download: "" }, file.name);
  open.addEventListener("click", (event) => {
    // The browser would open a picture or a text of another origin instead of saving it.
    if (file.size > BY_LINK || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    saveFile(file, results, state);
  });
  return make(
    "tr",
    {},
    make("td", {}, open, " ", state),
    make("td", { className: "number" }, size(file.size)),
    make(
      "td",
      { className: "mono quiet", title: file.sha256 },
      file.sha256.slice(0, 16),
      file.sha256 ? "…" : "",
    ),
  );
}

async function saveFile(file, results, state) {
  state.textContent = "";
  try {
    download(
      file.name.split("/").at(-1),
      new Blob([await loadFile(results.url(file), { size: file.size })]),
    );
  } catch (error) {
    state.textContent = sentence(error.message);
  }
}

/** A command for a terminal with a button that copies it; null without a command. */
function terminalLine(title, text, app) {
  if (!text) return null;
  const code = make(
    "pre",
    { className: "line", tabIndex: 0, role: "region", ariaLabel: title },
    text,
  );
  const copy = button(
    "Copy",
    async () => {
      try {
        await navigator.clipboard.writeText(text);
        copy.textContent = "Copied";
        app.notices.announce("Copied.");
      } catch {
        // Without TLS there is no clipboard: select the text, so that Ctrl-C copies it.
        getSelection().selectAllChildren(code);
        app.notices.announce("The command is selected; copy it.");
      }
    },
    { ariaLabel: `Copy: ${title}` },
  );
  return make("div", { className: "terminal" }, make("h4", {}, title), code, copy);
}
