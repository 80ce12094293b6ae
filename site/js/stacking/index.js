/** The tab Stacking: look at results. */

import { make } from "../dom.js";

/**
 * @param {HTMLElement} panel
 * @param {import("../main.js").App} app
 */
export function mount(panel, app) {
  panel.append(make("h2", {}, "Stacking"));
  return { open(params) {} };
}
