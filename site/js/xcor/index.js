/** The tab XCor: set parameters and launch. */

import { make } from "../dom.js";

/**
 * @param {HTMLElement} panel
 * @param {import("../main.js").App} app
 */
export function mount(panel, app) {
  panel.append(make("h2", {}, "XCor"));
  return { open(params) {} };
}
