/** The page: its services, its store, its tabs. Each tab is a folder of tabs/ whose index.js has `mount`. */

import { setClock } from "./lib/clock.js";
import { ask } from "./lib/http.js";
import { openNotices } from "./lib/notices.js";
import { Store } from "./lib/store.js";
import { Tabs } from "./lib/tabs.js";

/**
 * The services of the page, passed to each tab with its panel: `mount(panel, app)`. A tab may
 * return `{open(params)}`, called when the tab is shown or its address changes.
 *
 * @typedef {Object} App
 * @property {Object} config  config.json: results, submit, datacenters ...
 * @property {Object} limits  limits.json, that of the worker
 * @property {Object} store   see lib/store.js; keys: query, stations, params, jobs, theme,
 *     launch.xcor, launch.stack
 * @property {() => Date} now  the current time, also where the computer's clock is wrong
 * @property {Object} tabs    see lib/tabs.js: go(name, params), setParams(name, params)
 * @property {Object} notices see lib/notices.js: show, close, announce
 */

const byId = (id) => document.getElementById(id);
const notices = openNotices(byId("notices"), byId("live"));
const store = new Store(
  () => localStorage,
  () =>
    notices.show(
      "store",
      "This browser cannot store data for this page (its storage is full or disabled): " +
        "your selections will be lost on reload. Download the files you need.",
      { kind: "bad" },
    ),
);
addEventListener("storage", (event) => store.onStorage(event));

function applyTheme() {
  const theme = store.get("theme") ?? "";
  byId("theme").value = theme;
  document.documentElement.dataset.theme = theme;
}
byId("theme").addEventListener("change", (event) =>
  store.set("theme", event.target.value || undefined),
);
store.subscribe("theme", applyTheme);
applyTheme();

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.querySelector('[role="tabpanel"]:not([hidden])').focus();
});

async function start() {
  const [config, limits] = await Promise.all(
    ["config.json", "limits.json"].map((name) => ask(name, { cache: "no-cache" })),
  );
  if (!config.ok || !limits.ok) throw new Error("config.json or limits.json is missing");
  const clock = setClock(config.headers.get("Date"));
  if (clock.offBy) {
    notices.show(
      "clock",
      `The clock of this computer is ${apart(clock.offBy)} ${clock.offBy > 0 ? "ahead" : "behind"}; ` +
        "this page uses the time of its server.",
    );
  }
  openTabs({
    config: await config.json(),
    limits: await limits.json(),
    store,
    notices,
    now: clock.now,
  });
}

/** Add the tabs to the services of the page, and show the one that the address names. */
function openTabs(app) {
  const mounted = new Map(); // promises by name
  app.tabs = new Tabs(document.querySelector('[role="tablist"]'), async (name, params) => {
    if (!mounted.has(name)) mounted.set(name, mountTab(name, app));
    try {
      (await mounted.get(name))?.open?.(params);
    } catch (error) {
      mounted.delete(name);
      notices.show("tab", `This tab could not be loaded: ${error.message}.`, {
        kind: "bad",
        actions: { "Try again": () => app.tabs.show() },
      });
      throw error;
    }
    performance.mark("ready"); // tests/site/test_speed.py
  });
  app.tabs.show();
}

/** Load the code of a tab, and let it fill its panel. */
async function mountTab(name, app) {
  const tab = await import(`./tabs/${name}/index.js`);
  return tab.mount(byId(`panel-${name}`), app);
}

function apart(ms) {
  const minutes = Math.abs(ms) / 60_000;
  if (minutes < 120) return `${Math.round(minutes)} minutes`;
  if (minutes < 2880) return `${Math.round(minutes / 60)} hours`;
  return `${Math.round(minutes / 1440)} days`;
}

try {
  await start();
} catch (error) {
  notices.show("start", `The page could not start: ${error.message}. Reload it to try again.`, {
    kind: "bad",
  });
  throw error;
}
