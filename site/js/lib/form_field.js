/** A labelled input with its unit, help, advice and error, linked for assistive technology. */

import { make } from "./dom.js";

export class FormField {
  /**
   * @param {string} id
   * @param {string} label
   * @param {HTMLElement} input  gets the id
   * @param {{unit?: string, hint?: string}} [more]
   */
  constructor(id, label, input, { unit = "", hint = "" } = {}) {
    input.id = id;
    this.input = input;
    this.lines = {
      hint: make("p", { id: `${id}-hint`, className: "hint" }),
      advice: make("p", { id: `${id}-advice`, className: "advice", hidden: true }),
      error: make("p", { id: `${id}-error`, className: "error", hidden: true }),
    };
    const name = make(
      "label",
      { htmlFor: id },
      label,
      unit && make("span", { className: "unit" }, ` (${unit})`),
    );
    this.element = make("div", { className: "field" }, name, input, ...Object.values(this.lines));
    this.#setLine("hint", hint);
  }

  /** Show an error; "" removes it. */
  setError(text) {
    this.#setLine("error", text);
    if (text) this.input.setAttribute("aria-invalid", "true");
    else this.input.removeAttribute("aria-invalid");
  }

  /** Show advice; "" removes it. */
  setAdvice(text) {
    this.#setLine("advice", text);
  }

  #setLine(kind, text) {
    this.lines[kind].textContent = text;
    this.lines[kind].hidden = !text;
    const shown = Object.values(this.lines).filter((line) => !line.hidden);
    if (shown.length)
      this.input.setAttribute("aria-describedby", shown.map((line) => line.id).join(" "));
    else this.input.removeAttribute("aria-describedby");
  }
}
