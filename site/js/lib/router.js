/** The address: the open tab and its parameters. */

/**
 * Read a hash.
 *
 * @param {string} hash  such as "#map?network=TA" or "#jobs?id=12,345"
 * @param {string[]} tabs  the known names; any other becomes the first
 * @returns {{tab: string, params: URLSearchParams}}
 */
export function readHash(hash, tabs) {
  const text = hash.replace(/^#/, "");
  const cut = text.indexOf("?");
  const name = cut < 0 ? text : text.slice(0, cut);
  return {
    tab: tabs.includes(name) ? name : tabs[0],
    params: new URLSearchParams(cut < 0 ? "" : text.slice(cut + 1)),
  };
}

/** The hash that `readHash` reads back; empty values are left out. */
export function writeHash(tab, params) {
  const chosen = [...new URLSearchParams(params)].filter(([, value]) => value !== "");
  // Commas, colons and wildcards are allowed in a fragment; without escapes it is easier to read.
  const text = String(new URLSearchParams(chosen))
    .replace(/%2C/g, ",")
    .replace(/%3A/g, ":")
    .replace(/%3F/g, "?");
  return text ? `#${tab}?${text}` : `#${tab}`;
}
