/** Elements: how every part of the page makes them. Text is always text, never HTML. */

/**
 * An element with properties and children.
 *
 * @param {string} tag
 * @param {Object} [properties]  DOM properties such as className and onclick; `aria-*`, `data-*`,
 *     `role`, `for` and other names with no property of their own are set as attributes
 * @param {...(Node|string|null|undefined|false)} children  strings become text
 * @returns {HTMLElement}
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined) continue;
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(
    ...children.filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

/** A button of type "button" with a text. */
export function button(text, onclick, properties = {}) {
  return make("button", { type: "button", onclick, ...properties }, text);
}

/**
 * Hand a text to the browser's downloads.
 *
 * @param {string} name  of the file
 * @param {string|Blob} content
 * @param {string} type  MIME type, where the content is text
 */
export function download(name, content, type = "text/csv") {
  const blob = content instanceof Blob ? content : new Blob([content], { type });
  const url = URL.createObjectURL(blob);
  const link = make("a", { href: url, download: name });
  link.click();
  // The download has begun once the click returns to the browser.
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
