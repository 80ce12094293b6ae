/** The tab XCor: parameters, the estimate of the job, and its launch. */

import { button, download, make } from "../../lib/dom.js";
import { counted } from "../../lib/format.js";
import { estimateJob } from "../../request/cost.js";
import { PARAMS, checkParams, formatParams } from "../../request/params.js";
import { summary } from "../../request/saved_channels.js";
import { parseStations, spanText } from "../../request/stations.js";
import { submitJob } from "../../request/submit.js";
import { remember } from "../../results/job_list.js";
import { adviceOn, adviceOnChannels } from "./advice.js";
import { CostCard, figures } from "./cost_card.js";
import { ParamFields } from "./param_fields.js";

const LISTED = 8; // problems that are shown of a rejection
const NO_STATIONS = { channels: [], named: [], hasAllCodes: false, problems: [] };

/**
 * @param {HTMLElement} panel
 * @param {import("../../main.js").App} app
 */
export function mount(panel, app) {
  return new XcorTab(panel, app);
}

class XcorTab {
  #app;
  #panel;
  #request = { params: null, channels: [], estimate: null, problems: [], hasErrors: true };
  #parsed = { text: null, stations: NO_STATIONS }; // thousands of rows are not parsed at each key

  constructor(panel, app) {
    [this.#app, this.#panel] = [app, panel];
    this.fields = new ParamFields(app.limits.params, () => this.#update());
    this.cost = new CostCard(app.config);
    this.channels = make("div", { className: "stack" });
    this.channelsCard = make(
      "section",
      { className: "card stack", ariaLabel: "Channels" },
      make("h3", {}, "Channels"),
      this.channels,
    );
    this.dialog = make("dialog", { ariaLabel: "Launch this job?" });
    panel.append(
      make("div", { className: "main stack" }, this.#makeForm(), this.#makeLaunchCard()),
      make("div", { className: "side stack" }, this.channelsCard, this.cost.element),
      this.dialog,
    );
    app.store.subscribe("stations", () => this.#update());
  }

  #makeForm() {
    const reset = button("Defaults", () => this.#reset(), { className: "plain" });
    return make(
      "form",
      {
        className: "card stack",
        noValidate: true,
        ariaLabel: "Parameters",
        onsubmit: (event) => (event.preventDefault(), this.#confirm()),
      },
      make(
        "div",
        { className: "row" },
        make("h2", {}, "Parameters"),
        make("span", { className: "push" }),
        reset,
      ),
      this.fields.element,
      make("button", { type: "submit", hidden: true }),
    );
  }

  #makeLaunchCard() {
    const { config, store } = this.#app;
    this.send = button("Save and Launch", () => this.#confirm(), { className: "primary" });
    this.saveParams = button("Download xcor_params.csv", () => this.#saveParams(), {
      className: "plain",
    });
    this.saveStations = button(
      "Download stations.csv",
      () => download("stations.csv", store.get("stations")),
      { className: "plain" },
    );
    this.messages = make("div", { className: "stack", role: "alert" });
    return make(
      "section",
      { className: "card stack no-print", ariaLabel: "Launch" },
      make("h3", {}, "Launch"),
      config.submit ? null : notConnected(),
      make(
        "div",
        { className: "row" },
        config.submit ? this.send : null,
        this.saveParams,
        this.saveStations,
      ),
      this.messages,
    );
  }

  /** Set the parameters of the address, or those that the browser has stored. */
  open(params) {
    const given = Object.fromEntries([...params].filter(([name]) => this.fields.has(name)));
    this.fields.setRow(Object.keys(given).length ? given : (this.#app.store.get("params") ?? {}));
    this.#update();
  }

  #reset() {
    const before = this.fields.row();
    this.fields.setRow({});
    this.#update();
    this.#app.notices.show("defaults", "Parameters reset to defaults.", {
      actions: { Undo: () => (this.fields.setRow(before), this.#update()) },
    });
  }

  #saveParams() {
    const { params } = this.#request;
    if (params) download("xcor_params.csv", formatParams(params, this.#app.limits));
  }

  /** Check the form and the saved channels again, and show errors and estimate. */
  #update() {
    const { limits, store, tabs } = this.#app;
    this.fields.showUsed();
    const row = this.fields.row();
    const { params, values, problems } = checkParams(row, limits);
    const stations = this.#parseStations();
    const { estimate, problems: together } = estimateJob(stations, values, limits);
    const atFields = together.filter(({ file }) => file === PARAMS);
    const others = together.filter(({ file }) => file !== PARAMS);
    const general = [...stations.problems, ...others];
    const hasErrors = problems.length + atFields.length + general.length > 0;
    this.#request = {
      params,
      channels: stations.channels,
      estimate,
      problems: general,
      hasErrors,
    };
    this.fields.setMessages(
      byColumn([...problems, ...atFields]),
      params ? adviceOn(params, stations.channels) : {},
    );
    this.#renderChannels();
    this.cost.show(estimate, general, this.#nextStep());
    this.send.disabled = !this.#isReady();
    this.saveParams.disabled = !params;
    this.saveStations.disabled = !store.get("stations");
    store.set("params", row);
    tabs?.setParams("xcor", this.fields.changes());
  }

  #parseStations() {
    const text = this.#app.store.get("stations");
    if (text !== this.#parsed.text)
      this.#parsed = {
        text,
        stations: text ? parseStations(text, this.#app.limits) : NO_STATIONS,
      };
    return this.#parsed.stations;
  }

  /** The step that is missing for an estimate or a launch; "" where there is none. */
  #nextStep() {
    const { params, channels, estimate, problems } = this.#request;
    if (!channels.length && !problems.length)
      return "Save channels in the Map tab to see the estimate.";
    if (params) return "";
    return estimate
      ? "Fix the parameters marked in red to launch the job."
      : "Fix the parameters marked in red to see the estimate.";
  }

  #isReady() {
    const { params, estimate, hasErrors } = this.#request;
    return params !== null && estimate !== null && !hasErrors;
  }

  #renderChannels() {
    const { channels, params } = this.#request;
    if (!channels.length) {
      this.channels.replaceChildren(
        make("p", { className: "quiet" }, "No channels saved yet."),
        this.#mapLink("Select channels on the map"),
      );
      return;
    }
    const { stations, days, first, last } = summary(channels);
    const notes = adviceOnChannels(channels, params).map((text) =>
      make("p", { className: "warn small" }, text),
    );
    this.channels.replaceChildren(
      make(
        "p",
        {},
        make("strong", {}, counted(channels.length, "channel")),
        ` of ${counted(stations, "station")}, ${counted(days, "day")}`,
      ),
      make("p", { className: "quiet small" }, spanText(first, last)),
      ...notes,
      this.#mapLink("Change the selection on the map"),
    );
  }

  #mapLink(text) {
    const onclick = (event) => (event.preventDefault(), this.#app.tabs.go("map"));
    return make("a", { href: "#map", onclick }, text);
  }

  /** Ask for confirmation, with the estimate. */
  #confirm() {
    if (!this.#app.config.submit) return;
    if (!this.#isReady()) {
      this.#focusFirstError();
      return;
    }
    const launch = () => (this.dialog.close(), this.#launch());
    this.dialog.replaceChildren(
      make(
        "div",
        { className: "stack" },
        make("h2", {}, "Launch this job?"),
        make("p", {}, `${this.#title()}.`),
        figures(this.#request.estimate, this.#app.config),
        make(
          "p",
          { className: "small quiet" },
          "Anyone with the job number can view its results; the number cannot be guessed.",
        ),
        make(
          "div",
          { className: "row" },
          button("Launch", launch, { className: "primary", autofocus: true }),
          button("Cancel", () => this.dialog.close()),
        ),
      ),
    );
    this.dialog.showModal();
  }

  #focusFirstError() {
    const first = this.#panel.querySelector('[aria-invalid="true"]');
    (first ?? this.channelsCard.querySelector("a") ?? this.send).focus();
  }

  /** Title of the job. */
  #title() {
    const { channels, params } = this.#request;
    return `${counted(channels.length, "channel")}, ${params.freqmin} to ${params.freqmax} Hz`;
  }

  async #launch() {
    const { store, limits, tabs, now } = this.#app;
    this.send.disabled = true;
    this.send.textContent = "Submitting ...";
    this.#showMessages();
    const title = this.#title();
    try {
      const answer = await submitJob(this.#app, "xcor", {
        stations: store.get("stations"),
        params: formatParams(this.#request.params, limits),
      });
      if (answer.id) {
        remember(store, { id: answer.id, kind: "xcor", title }, now());
        tabs.go("jobs", { id: answer.id });
      } else if (answer.problems) {
        this.#showRejection(answer.problems);
      } else {
        this.#showNotConfirmed(answer.trouble);
      }
    } finally {
      this.send.textContent = "Save and Launch";
      this.send.disabled = !this.#isReady();
    }
  }

  /** Show the problems that the server found, at their fields where they have one. */
  #showRejection(problems) {
    const own = problems.filter(
      ({ file, column }) => file === "params.csv" && this.fields.has(column),
    );
    const errors = {};
    for (const { column, text } of own)
      errors[column] = joined(errors[column], text.replace(/^params\.csv(?: line \d+)?: /, ""));
    this.fields.setMessages(errors, {});
    const others = problems.filter((one) => !own.includes(one)).map(({ text }) => text);
    if (others.length > LISTED)
      others.splice(LISTED, others.length, `and ${others.length - LISTED} more`);
    this.#showMessages(
      make("p", { className: "message bad" }, "The service rejected the job; nothing was started."),
      ...(others.length ? [listOf(others)] : []),
    );
    if (own.length) this.fields.focus(own[0].column);
  }

  /** Offer to submit the job again; all input is kept. */
  #showNotConfirmed(text) {
    this.#showMessages(
      make("p", { className: "message bad" }, `The service did not confirm the job: ${text}.`),
      make(
        "p",
        {},
        "Nothing is lost: channels and parameters are kept, even after a reload. Retrying is safe: it cannot create a second job.",
      ),
      make(
        "div",
        { className: "row" },
        button("Try again", () => this.#launch(), { className: "primary" }),
      ),
    );
  }

  #showMessages(...children) {
    this.messages.replaceChildren(...children);
    this.messages.scrollIntoView({ block: "nearest" });
  }
}

function listOf(texts) {
  return make("ul", { className: "bad" }, ...texts.map((text) => make("li", {}, text)));
}

function notConnected() {
  return make(
    "p",
    { className: "message" },
    "This page is not connected to a service. Download the two files into a folder and run ",
    make("code", {}, "xcor-daemon correlate FOLDER"),
    " or ",
    make("code", {}, "xcor-daemon submit FOLDER"),
    ".",
  );
}

function byColumn(problems) {
  const errors = {};
  for (const { column, value, need } of problems)
    errors[column] = joined(errors[column], `${value === "" ? "" : `${value} `}${need}`);
  return errors;
}

/** All errors of one field, in one line. */
function joined(before, text) {
  return before ? `${before}; ${text}` : text;
}
