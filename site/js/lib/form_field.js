/** A labelled input with its unit, its help and what is wrong with it, tied together for all senses. */

import { make } from "./dom.js";

/**
 * @param {string} id
 * @param {string} label
 * @param {HTMLElement} input  gets the id
 * @param {{unit?: string, hint?: string}} [more]
 * @returns {{element: HTMLElement, input: HTMLElement, setError: (text: string) => void,
 *     setAdvice: (text: string) => void}}  "" takes an error or an advice away
 */
export function field(id, label, input, { unit = "", hint = "" } = {}) {
  input.id = id;
  const lines = {
    hint: make("p", { id: `${id}-hint`, className: "hint" }, hint),
    advice: make("p", { id: `${id}-advice`, className: "advice", hidden: true }),
    error: make("p", { id: `${id}-error`, className: "error", hidden: true }),
  };
  lines.hint.hidden = !hint;
  const name = make(
    "label",
    { htmlFor: id },
    label,
    unit && make("span", { className: "unit" }, ` (${unit})`),
  );
  const element = make("div", { className: "field" }, name, input, ...Object.values(lines));

  function set(kind, text) {
    lines[kind].textContent = text;
    lines[kind].hidden = !text;
    const shown = Object.values(lines).filter((line) => !line.hidden);
    if (shown.length)
      input.setAttribute("aria-describedby", shown.map((line) => line.id).join(" "));
    else input.removeAttribute("aria-describedby");
  }

  set("hint", hint);
  return {
    element,
    input,
    setError(text) {
      set("error", text);
      if (text) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    },
    setAdvice: (text) => set("advice", text),
  };
}
