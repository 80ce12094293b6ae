/** The images of a job, each with its description and download. */

import { button, download, make } from "../../lib/dom.js";
import { counted, sentence } from "../../lib/format.js";
import { imagesOf } from "../../results/manifest.js";
import { loadFile } from "../../results/byte_ranges.js";

/** @param {import("../../results/results.js").Results} results */
export function imagesView(results) {
  const images = imagesOf(results.manifest);
  if (!images.length) return make("p", { className: "empty" }, "This job has no images.");
  return make("div", { className: "images" }, ...images.map((image) => figureOf(image, results)));
}

function figureOf({ file, text, svg }, results) {
  const name = file.name.slice("PLOT/".length);
  const picture = make("img", {
    src: results.url(file),
    alt: name,
    loading: "lazy",
    decoding: "async",
  });
  const title = make("span", { className: "title" }, name);
  const description = make("div");
  const state = make("span", { className: "small bad", role: "status" });
  picture.addEventListener("error", () => {
    picture.hidden = true;
    state.textContent = "The image cannot be shown; it may have expired.";
  });
  if (text) describe(text, results, { picture, title, description });
  const links = make(
    "div",
    { className: "row" },
    button("PNG", () => fetchTo(results, file, name, state), { ariaLabel: `Download ${name}` }),
    svg
      ? button("SVG", () => fetchTo(results, svg, svg.name.slice("PLOT/".length), state), {
          ariaLabel: `Download ${svg.name.slice("PLOT/".length)}`,
        })
      : null,
    state,
  );
  return make(
    "figure",
    { className: "card" },
    make(
      "a",
      { href: results.url(file), target: "_blank", rel: "noopener", className: "frame" },
      picture,
    ),
    make("figcaption", { className: "stack" }, title, description, links),
  );
}

async function describe(text, results, { picture, title, description }) {
  let content;
  try {
    content = (await results.text(text)).trim();
  } catch {
    return; // the image is shown without its description
  }
  const [first, ...rest] = content.split("\n");
  picture.alt = content;
  title.textContent = first;
  if (rest.length)
    description.append(
      make(
        "details",
        { className: "small" },
        make("summary", {}, `Description (${counted(rest.length, "line")})`),
        make("p", { className: "words" }, rest.join("\n")),
      ),
    );
}

/** A file of another origin must be loaded before the browser can save it under its name. */
async function fetchTo(results, file, name, state) {
  state.textContent = "";
  try {
    const bytes = await loadFile(results.url(file), { size: file.size });
    download(name, new Blob([bytes]));
  } catch (error) {
    state.textContent = sentence(error.message);
  }
}
