/** Notices of the page, and announcements for screen readers. */

import { button, make } from "./dom.js";

/**
 * @param {HTMLElement} box  parent of the notices
 * @param {HTMLElement} live  a live region
 */
export function openNotices(box, live) {
  const shown = new Map();

  /**
   * Show a notice until it is closed; it replaces one of the same key.
   *
   * @param {string} key
   * @param {string} text
   * @param {{kind?: "info"|"bad", actions?: Object<string, () => void>}} [options]  `actions`:
   *     buttons by their text; each closes the notice
   */
  function show(key, text, { kind = "info", actions = {} } = {}) {
    close(key);
    const buttons = Object.entries(actions).map(([name, act]) =>
      button(name, () => {
        close(key);
        act();
      }),
    );
    const cross = button("×", () => close(key), {
      className: "plain",
      ariaLabel: "Close this notice",
    });
    const notice = make(
      "div",
      { className: `notice ${kind}`, role: kind === "bad" ? "alert" : "status" },
      make("p", {}, text),
      ...buttons,
      cross,
    );
    shown.set(key, notice);
    box.append(notice);
  }

  function close(key) {
    shown.get(key)?.remove();
    shown.delete(key);
  }

  return {
    show,
    close,
    /** Announce something to screen readers that is visible elsewhere. */
    announce(text) {
      live.textContent = text;
    },
  };
}
