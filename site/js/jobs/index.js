/** The tab Jobs: follow. */

import { make } from "../dom.js";

/**
 * @param {HTMLElement} panel
 * @param {import("../main.js").App} app
 */
export function mount(panel, app) {
  panel.append(make("h2", {}, "Jobs"));
  return { open(params) {} };
}
