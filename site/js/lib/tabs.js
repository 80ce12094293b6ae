/** The tabs: one panel is shown, chosen by the address, the mouse or the arrow keys. */

import { readHash, writeHash } from "./router.js";

/**
 * Tie a tab list to its panels and to the address.
 *
 * @param {HTMLElement} list  with `role="tab"` links, each controlling a panel
 * @param {(name: string, params: URLSearchParams) => void} onOpen  a tab is shown, or the
 *     address of the one shown has changed
 */
export function openTabs(list, onOpen) {
  const tabs = [...list.querySelectorAll('[role="tab"]')];
  // Panels are named apart from the address, or the browser would scroll to them.
  const panelOf = (tab) => document.getElementById(tab.getAttribute("aria-controls"));
  const names = tabs.map((tab) => tab.hash.slice(1));
  const said = new Map(); // the last parameters of each tab
  let open = "";

  function show() {
    const { tab: name, params } = readHash(location.hash, names);
    open = name;
    said.set(name, params);
    tabs.forEach((tab, k) => {
      const isOpen = names[k] === name;
      tab.setAttribute("aria-selected", isOpen);
      tab.tabIndex = isOpen ? 0 : -1;
      panelOf(tab).hidden = !isOpen;
    });
    onOpen(name, params);
  }

  function go(name, params) {
    const hash = writeHash(name, params ?? said.get(name) ?? "");
    if (hash === location.hash) show();
    else location.hash = hash;
  }

  list.addEventListener("click", (event) => {
    const tab = event.target.closest('[role="tab"]');
    if (!tab || event.ctrlKey || event.metaKey || event.shiftKey) return; // a new window is the browser's
    event.preventDefault();
    go(names[tabs.indexOf(tab)]);
  });
  list.addEventListener("keydown", (event) => {
    const step = {
      ArrowRight: 1,
      ArrowLeft: -1,
      Home: -names.indexOf(open),
      End: names.length - 1 - names.indexOf(open),
    }[event.key];
    if (event.key === " ") go(open);
    if (step === undefined) return;
    event.preventDefault();
    const next = (names.indexOf(open) + step + names.length) % names.length;
    go(names[next]);
    tabs[next].focus();
  });
  addEventListener("hashchange", () => {
    if (location.hash !== "#main") show();
  });

  return {
    show,
    /** Open a tab, with parameters of the address or with those that it had last. */
    go,
    /** The name of the tab that is shown. */
    get open() {
      return open;
    },
    /** What the address says for a tab. */
    params: (name) => said.get(name) ?? new URLSearchParams(),
    /** Say a tab's state in the address, without a step in the history. */
    setParams(name, params) {
      const hash = writeHash(name, params);
      said.set(name, readHash(hash, names).params);
      if (name === open) history.replaceState(null, "", hash);
    },
  };
}
