/** All files of a job, and lines for a terminal that load them. */

import { button, download, make } from "../../lib/dom.js";
import { counted, sentence, size } from "../../lib/format.js";
import { awsLine, curlAll, curlFile } from "./download_commands.js";
import { loadWhole } from "../../results/byte_ranges.js";
import { zipOf } from "../../results/zip.js";

const BY_LINK = 32e6; // bytes; what is larger is left to the browser itself
const IN_ZIP = 400e6; // bytes that a browser can hold without trouble
const SHOWN = 100; // files in the list; the lines load all of them

/**
 * @param {import("../../results/results.js").Results} results
 * @param {import("../../main.js").App} app
 */
export function downloadsView(results, app) {
  const { manifest } = results;
  const bucket = app.config.results;
  const all = manifest.files.reduce((sum, file) => sum + file.size, 0);
  const example = manifest.files.find(({ name }) => name.endsWith(".h5")) ?? manifest.files[0];
  const rows = make("tbody");
  const more = make("p", { className: "small quiet" });
  const filter = make("input", {
    type: "search",
    id: "file-text",
    placeholder: "STACK",
    autocomplete: "off",
    oninput: draw,
  });

  function draw() {
    const found = manifest.files.filter(({ name }) =>
      name.toLowerCase().includes(filter.value.trim().toLowerCase()),
    );
    rows.replaceChildren(...found.slice(0, SHOWN).map((file) => fileRow(file, results)));
    more.textContent =
      found.length > SHOWN
        ? `${SHOWN} of ${counted(found.length, "file")} are listed; search for others, or download all with a command above.`
        : counted(found.length, "file");
  }

  draw();
  return make(
    "div",
    { className: "stack" },
    make(
      "div",
      { className: "card stack" },
      make("h3", {}, `All files: ${counted(manifest.files.length, "file")}, ${size(all)}`),
      zipRow(results, all),
      make(
        "p",
        { className: "small quiet" },
        "Commands for a terminal; run a command again to resume an interrupted download. Anyone with the job number can read its files.",
      ),
      terminalLine("With curl", curlAll(bucket, manifest.id), app),
      terminalLine(
        "With the AWS CLI (requires permission to list the bucket)",
        awsLine(bucket, `processed/${manifest.id}/`),
        app,
      ),
      example ? terminalLine("One file with curl", curlFile(results.url(example)), app) : null,
      example ? terminalLine("One file with the AWS CLI", awsLine(bucket, example.key), app) : null,
    ),
    make(
      "div",
      { className: "card stack" },
      make(
        "div",
        { className: "field" },
        make("label", { for: "file-text" }, "Filter files"),
        filter,
      ),
      make(
        "div",
        { className: "scroll files", tabIndex: 0, role: "region", ariaLabel: "Files" },
        make(
          "table",
          { className: "data" },
          make(
            "thead",
            {},
            make(
              "tr",
              {},
              ...["File", "Size", "SHA-256"].map((text) =>
                make(
                  "th",
                  { scope: "col", className: text === "Size" ? "number" : "" },
                  make("span", {}, text),
                ),
              ),
            ),
          ),
          rows,
        ),
      ),
      more,
    ),
  );
}

/** All files at once, as far as a browser can. */
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
          bytes: await loadWhole(results.url(file), { size: file.size }),
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
    // The browser would show a picture or a text of another origin instead of keeping it.
    if (file.size > BY_LINK || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    keep(file, results, state);
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

async function keep(file, results, state) {
  state.textContent = "";
  try {
    download(
      file.name.split("/").at(-1),
      new Blob([await loadWhole(results.url(file), { size: file.size })]),
    );
  } catch (error) {
    state.textContent = sentence(error.message);
  }
}

/** A line of a terminal with a button that copies it; nothing where there is no line. */
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
        app.notices.say("Copied.");
      } catch {
        // Plain http has no clipboard: mark it, so that Ctrl-C takes it.
        getSelection().selectAllChildren(code);
        app.notices.say("The command is selected; copy it.");
      }
    },
    { ariaLabel: `Copy: ${title}` },
  );
  return make("div", { className: "terminal" }, make("h4", {}, title), code, copy);
}
