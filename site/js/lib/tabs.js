/** The tabs: one panel is shown, chosen by the address, the mouse or the arrow keys. */

import { readHash, writeHash } from "./router.js";

export class Tabs {
  #tabs;
  #names;
  #onOpen;
  #params = new Map(); // the last parameters of each tab
  #open = "";

  /**
   * @param {HTMLElement} list  with `role="tab"` links, each controlling a panel
   * @param {(name: string, params: URLSearchParams) => void} onOpen  a tab is shown, or the
   *     address of the one shown has changed
   */
  constructor(list, onOpen) {
    this.#tabs = [...list.querySelectorAll('[role="tab"]')];
    this.#names = this.#tabs.map((tab) => tab.hash.slice(1));
    this.#onOpen = onOpen;
    list.addEventListener("click", (event) => this.#onClick(event));
    list.addEventListener("keydown", (event) => this.#onKey(event));
    addEventListener("hashchange", () => {
      if (location.hash !== "#main") this.show();
    });
  }

  /** Show the tab that the address names. */
  show() {
    const { tab: name, params } = readHash(location.hash, this.#names);
    this.#open = name;
    this.#params.set(name, params);
    this.#tabs.forEach((tab, k) => {
      const isOpen = this.#names[k] === name;
      tab.setAttribute("aria-selected", isOpen);
      tab.tabIndex = isOpen ? 0 : -1;
      panelOf(tab).hidden = !isOpen;
    });
    this.#onOpen(name, params);
  }

  /** Open a tab, with parameters of the address or with its last ones. */
  go(name, params) {
    const hash = writeHash(name, params ?? this.#params.get(name) ?? "");
    if (hash === location.hash) this.show();
    else location.hash = hash;
  }

  /** The name of the tab that is shown. */
  get open() {
    return this.#open;
  }

  /** The parameters that the address has, or last had, for a tab. */
  params(name) {
    return this.#params.get(name) ?? new URLSearchParams();
  }

  /** Write a tab's state into the address, without a step in the history. */
  setParams(name, params) {
    const hash = writeHash(name, params);
    this.#params.set(name, readHash(hash, this.#names).params);
    if (name === this.#open) history.replaceState(null, "", hash);
  }

  #onClick(event) {
    const tab = event.target.closest('[role="tab"]');
    if (!tab || event.ctrlKey || event.metaKey || event.shiftKey) return; // opens a new window
    event.preventDefault();
    this.go(this.#names[this.#tabs.indexOf(tab)]);
  }

  #onKey(event) {
    const [names, current] = [this.#names, this.#names.indexOf(this.#open)];
    const steps = { ArrowRight: 1, ArrowLeft: -1, Home: -current, End: names.length - 1 - current };
    if (event.key === " ") this.go(this.#open);
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const next = (current + step + names.length) % names.length;
    this.go(names[next]);
    this.#tabs[next].focus();
  }
}

/** Panels have ids apart from the address, or the browser would scroll to them. */
function panelOf(tab) {
  return document.getElementById(tab.getAttribute("aria-controls"));
}
