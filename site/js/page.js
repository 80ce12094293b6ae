/** The page: a form that sends jobs, and a card for each job that follows it to its end. */

import { fetchJson, hashOf, idsIn, imagesOf, isOver, progressText, shortName, size } from "./results.js";

const POLL_MS = 1500;
const STORED = "xcor-jobs";
const $ = (id) => document.getElementById(id);
const config = await (await fetch("config.json", { cache: "no-cache" })).json();
const keyUrl = (key) => `${config.results}/${key.split("/").map(encodeURIComponent).join("/")}`;
const followed = new Set();

/** An element with a text and properties; never HTML from a service. */
function make(tag, text = "", properties = {}) {
  const element = Object.assign(document.createElement(tag), properties);
  if (text) element.textContent = text;
  return element;
}

/** Show a job's card and poll its status until it is over. */
function follow(id) {
  if (followed.has(id)) return;
  followed.add(id);
  $("none").hidden = true;
  const card = make("article", "", { className: "job", id: `job-${id}` });
  $("jobs").prepend(card);
  poll(id, card);
}

async function poll(id, card) {
  let status = null;
  try {
    status = await fetchJson(keyUrl(`processed/${id}/status.json`));
    draw(card, id, status ?? { state: "queued", stage: "waiting to be seen" });
    if (status?.state === "done" && status.manifest) await drawResults(card, status);
  } catch (error) {
    draw(card, id, { state: "unknown", stage: `cannot be read now: ${error.message}` });
    status = null;
  }
  if (!isOver(status?.state)) setTimeout(poll, POLL_MS, id, card);
}

/** The head of a card: state, progress, reason, warnings. */
function draw(card, id, status) {
  const head = make("h3", `Job ${id}`);
  head.append(make("span", status.state, { className: `state ${status.state}` }));
  const parts = [head, make("p", progressText(status))];
  if (!isOver(status.state)) {
    const [done, all] = status.days ?? [0, 0];
    const bar = make("progress", "", { max: all || 1, ariaLabel: `Progress of job ${id}` });
    if (done) bar.value = done;
    parts.push(bar);
  }
  if (status.reason) parts.push(make("p", status.reason, { className: "reason" }));
  if (status.warnings?.length) {
    const list = make("ul", "", { className: "warnings" });
    list.append(...status.warnings.slice(0, 20).map((w) => make("li", describe(w))));
    parts.push(list);
  }
  card.replaceChildren(...parts);
}

function describe(warning) {
  return [warning.channel, warning.day, warning.text].filter(Boolean).join(": ");
}

/** The images and the files of a job that is done. */
async function drawResults(card, status) {
  const manifest = await fetchJson(keyUrl(status.manifest));
  if (!manifest) return;
  const images = make("div", "", { className: "images" });
  images.append(...(await Promise.all(imagesOf(manifest).map(figure))));
  const files = make("ul", "", { className: "files" });
  for (const file of manifest.files) {
    const item = make("li");
    item.append(make("a", shortName(file.key), { href: keyUrl(file.key) }), ` ${size(file.size)}`);
    files.append(item);
  }
  card.append(images, make("h4", "Files"), files);
}

/** An image with the text that the pipeline wrote beside it. */
async function figure(image) {
  const answer = image.text ? await fetch(keyUrl(image.text)) : null;
  const text = answer?.ok ? (await answer.text()).trim() : shortName(image.key);
  const box = make("figure");
  const link = make("a", "", { href: keyUrl(image.key) });
  link.append(make("img", "", { src: keyUrl(image.key), alt: text, loading: "lazy" }));
  const [title, ...rest] = text.split("\n");
  box.append(link, make("figcaption", title));
  if (rest.length) {
    const words = make("details");
    words.append(make("summary", "In words"), make("p", rest.join("\n"), { className: "words" }));
    box.append(words);
  }
  return box;
}

/** Keep the ids in the address, for links, and in the browser, for tomorrow. */
function remember() {
  history.replaceState(null, "", hashOf([...followed]));
  localStorage.setItem(STORED, hashOf([...followed]));
}

$("send").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("told").textContent = "sending ...";
  $("problems").replaceChildren();
  const body = JSON.stringify({ stations: $("stations").value, params: $("params").value });
  try {
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch(config.submit, { method: "POST", headers, body });
    const reply = await answer.json();
    if (answer.ok) {
      $("told").textContent = `Job ${reply.id} is on its way.`;
      follow(String(reply.id));
      remember();
      return;
    }
    $("told").textContent = "The job was refused:";
    const problems = reply.problems ?? [reply.error ?? `status ${answer.status}`];
    $("problems").replaceChildren(...problems.map((p) => make("li", p.text ?? p)));
  } catch (error) {
    $("told").textContent = `The job could not be sent: ${error.message}`;
  }
});

function followAll() {
  const ids = [...idsIn(localStorage.getItem(STORED) ?? ""), ...idsIn(location.hash)];
  if (!ids.length) return;
  ids.forEach(follow);
  remember();
}

addEventListener("hashchange", followAll);
followAll();
