/** The tab XCor: the parameters of a job, what it comes to, and its launch. */

import { button, download, make } from "../../lib/dom.js";
import { launch } from "../../request/submit.js";
import { remember } from "../../results/job_list.js";
import { summary } from "../../request/saved_channels.js";
import { parseStations, spanWords } from "../../request/stations.js";
import { counted } from "../../lib/format.js";
import { adviceOn, adviceOnChannels } from "./advice.js";
import { estimate } from "../../request/cost.js";
import { paramFields } from "./param_fields.js";
import { PARAMS, checkParams, formatParams } from "../../request/params.js";
import { facts, priceCard } from "./cost_card.js";

const LISTED = 8; // problems that are shown of a refusal
const NO_STATIONS = { channels: [], named: [], hasAllCodes: false, problems: [] };

/**
 * @param {HTMLElement} panel
 * @param {import("../../main.js").App} app
 */
export function mount(panel, app) {
  const fields = paramFields(app.limits.params, changed);
  const reset = button(
    "Defaults",
    () => {
      const before = fields.row();
      fields.setRow({});
      changed();
      app.notices.show("defaults", "Parameters reset to defaults.", {
        actions: { Undo: () => (fields.setRow(before), changed()) },
      });
    },
    { className: "plain" },
  );
  const price = priceCard(app.config);
  const channelsBox = make("div", { className: "stack" });
  const channelsCard = make(
    "section",
    { className: "card stack", ariaLabel: "Channels" },
    make("h3", {}, "Channels"),
    channelsBox,
  );
  const send = button("Save and Launch", confirm, { className: "primary" });
  const saveParams = button(
    "Download xcor_params.csv",
    () => now.params && download("xcor_params.csv", formatParams(now.params, app.limits)),
    { className: "plain" },
  );
  const saveStations = button(
    "Download stations.csv",
    () => download("stations.csv", app.store.get("stations")),
    { className: "plain" },
  );
  const told = make("div", { className: "stack", role: "alert" });
  const launchCard = make(
    "section",
    { className: "card stack no-print", ariaLabel: "Launch" },
    make("h3", {}, "Launch"),
    !app.config.submit &&
      make(
        "p",
        { className: "message" },
        "This page is not connected to a service. Download the two files into a folder and run ",
        make("code", {}, "xcor-daemon correlate FOLDER"),
        " or ",
        make("code", {}, "xcor-daemon submit FOLDER"),
        ".",
      ),
    make(
      "div",
      { className: "row" },
      ...(app.config.submit ? [send] : []),
      saveParams,
      saveStations,
    ),
    told,
  );
  const dialog = make("dialog", { ariaLabel: "Launch this job?" });
  panel.append(
    make(
      "div",
      { className: "main stack" },
      make(
        "form",
        {
          className: "card stack",
          noValidate: true,
          ariaLabel: "Parameters",
          onsubmit: (event) => (event.preventDefault(), confirm()),
        },
        make(
          "div",
          { className: "row" },
          make("h2", {}, "Parameters"),
          make("span", { className: "push" }),
          reset,
        ),
        fields.element,
        make("button", { type: "submit", hidden: true }),
      ),
      launchCard,
    ),
    make("div", { className: "side stack" }, channelsCard, price.element),
    dialog,
  );

  let now = { params: null, channels: [], price: null, problems: [], isWrong: true };
  let read = { text: null, stations: NO_STATIONS }; // thousands of rows are not read at each key

  /** Read the form and the saved channels again, and say what they come to. */
  function changed() {
    fields.showUsed();
    const row = fields.row();
    const { params, values, problems } = checkParams(row, app.limits);
    const saved = app.store.get("stations");
    if (saved !== read.text)
      read = { text: saved, stations: saved ? parseStations(saved, app.limits) : NO_STATIONS };
    const { stations } = read;
    const { channels } = stations;
    const { price: found, problems: together } = estimate(stations, values, app.limits);
    const atFields = together.filter(({ file }) => file === PARAMS);
    const others = together.filter(({ file }) => file !== PARAMS);
    now = { params, channels, price: found, problems: [...stations.problems, ...others] };
    now.isWrong = problems.length + atFields.length + now.problems.length > 0;
    fields.tell(byColumn([...problems, ...atFields]), params ? adviceOn(params, channels) : {});
    showChannels();
    const waiting =
      !channels.length && !now.problems.length
        ? "Save channels in the Map tab to see the estimate."
        : params
          ? ""
          : now.price
            ? "Fix the parameters marked in red to launch the job."
            : "Fix the parameters marked in red to see the estimate.";
    price.show(now.price, now.problems, waiting);
    send.disabled = !isReady();
    saveParams.disabled = !params;
    saveStations.disabled = !saved;
    app.store.set("params", row);
    app.tabs?.setParams("xcor", fields.changes());
  }

  function isReady() {
    return now.params !== null && now.price !== null && !now.isWrong;
  }

  function showChannels() {
    const { channels } = now;
    if (!channels.length) {
      channelsBox.replaceChildren(
        make("p", { className: "quiet" }, "No channels saved yet."),
        link("Select channels on the map"),
      );
      return;
    }
    const { stations, days, first, last } = summary(channels);
    const notes = adviceOnChannels(channels, now.params).map((text) =>
      make("p", { className: "warn small" }, text),
    );
    channelsBox.replaceChildren(
      make(
        "p",
        {},
        make("strong", {}, counted(channels.length, "channel")),
        ` of ${counted(stations, "station")}, ${counted(days, "day")}`,
      ),
      make("p", { className: "quiet small" }, spanWords(first, last)),
      ...notes,
      link("Change the selection on the map"),
    );
  }

  function link(text) {
    return make(
      "a",
      { href: "#map", onclick: (event) => (event.preventDefault(), app.tabs.go("map")) },
      text,
    );
  }

  /** Ask once more, with the price. */
  function confirm() {
    if (!app.config.submit) return;
    if (!isReady()) {
      const first = panel.querySelector('[aria-invalid="true"]');
      return (first ?? channelsCard.querySelector("a") ?? send).focus();
    }
    dialog.replaceChildren(
      make(
        "div",
        { className: "stack" },
        make("h2", {}, "Launch this job?"),
        make("p", {}, `${counted(now.channels.length, "channel")}, ${title()}.`),
        facts(now.price, app.config),
        make(
          "p",
          { className: "small quiet" },
          "Anyone with the job number can view its results; the number cannot be guessed.",
        ),
        make(
          "div",
          { className: "row" },
          button("Launch", () => (dialog.close(), go()), { className: "primary", autofocus: true }),
          button("Cancel", () => dialog.close()),
        ),
      ),
    );
    dialog.showModal();
  }

  function title() {
    return `${now.params.freqmin} to ${now.params.freqmax} Hz`;
  }

  async function go() {
    send.disabled = true;
    send.textContent = "Submitting ...";
    tell();
    const name = `${counted(now.channels.length, "channel")}, ${title()}`;
    try {
      const answer = await launch(app, "xcor", {
        stations: app.store.get("stations"),
        params: formatParams(now.params, app.limits),
      });
      if (answer.id) {
        remember(app.store, { id: answer.id, kind: "xcor", title: name }, app.now());
        app.tabs.go("jobs", { id: answer.id });
      } else if (answer.problems) {
        refuse(answer.problems);
      } else {
        keep(answer.trouble);
      }
    } finally {
      send.textContent = "Save and Launch";
      send.disabled = !isReady();
    }
  }

  /** Show what the server found, at the fields where it belongs to one. */
  function refuse(problems) {
    const own = problems.filter((one) => one.file === "params.csv" && fields.has(one.column));
    const words = {};
    for (const { column, text } of own)
      words[column] = joined(words[column], text.replace(/^params\.csv(?: line \d+)?: /, ""));
    fields.tell(words, {});
    const rest = problems
      .filter((one) => !own.includes(one))
      .map((one) => make("li", {}, one.text));
    if (rest.length > LISTED)
      rest.splice(LISTED, rest.length, make("li", {}, `and ${rest.length - LISTED} more`));
    tell(
      make("p", { className: "message bad" }, "The service rejected the job; nothing was started."),
      ...(rest.length ? [make("ul", { className: "bad" }, ...rest)] : []),
    );
    if (own.length) fields.focus(own[0].column);
  }

  /** The service has not said that it took the job: all stays as it is. */
  function keep(text) {
    tell(
      make("p", { className: "message bad" }, `The service did not confirm the job: ${text}.`),
      make(
        "p",
        {},
        "Nothing is lost: channels and parameters are kept, even after a reload. Retrying is safe: it cannot create a second job.",
      ),
      make("div", { className: "row" }, button("Try again", go, { className: "primary" })),
    );
  }

  function tell(...children) {
    told.replaceChildren(...children);
    told.scrollIntoView({ block: "nearest" });
  }

  app.store.subscribe("stations", changed);
  return {
    open(params) {
      const given = Object.fromEntries([...params].filter(([name]) => fields.has(name)));
      fields.setRow(Object.keys(given).length ? given : (app.store.get("params") ?? {}));
      changed();
    },
  };
}

function byColumn(problems) {
  const words = {};
  for (const { column, value, need } of problems)
    words[column] = joined(words[column], `${value === "" ? "" : `${value} `}${need}`);
  return words;
}

/** Everything that is wrong with one field, in one line. */
function joined(before, text) {
  return before ? `${before}; ${text}` : text;
}
