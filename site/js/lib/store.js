/** Values by key that outlive a reload, shared with the other windows of the browser. */

const PREFIX = "xcor.";

/**
 * A store over a `Storage`; values are those of JSON.
 *
 * Every read goes to the storage, so two windows never work on stale values. Where the
 * storage is full or forbidden, values live as long as the page, and `onTrouble` is called once.
 */
export class Store {
  #open;
  #onTrouble;
  #unsaved = new Map(); // values that the storage did not accept
  #listeners = new Map(); // by key
  #isReported = false;

  /**
   * @param {() => Storage} open  returns the storage; even this may be forbidden
   * @param {(error: Error) => void} onTrouble
   */
  constructor(open, onTrouble) {
    [this.#open, this.#onTrouble] = [open, onTrouble];
  }

  /** The value of a key; undefined where there is none or it is invalid. */
  get(key) {
    if (this.#unsaved.has(key)) return this.#unsaved.get(key);
    try {
      return JSON.parse(this.#open().getItem(PREFIX + key) ?? "null") ?? undefined;
    } catch (error) {
      if (!(error instanceof SyntaxError)) this.#report(error);
      return undefined;
    }
  }

  /** Set a key, or remove it (undefined), and notify its subscribers. */
  set(key, value) {
    try {
      if (value === undefined) this.#open().removeItem(PREFIX + key);
      else this.#open().setItem(PREFIX + key, JSON.stringify(value));
      this.#unsaved.delete(key);
    } catch (error) {
      this.#unsaved.set(key, value);
      this.#report(error);
    }
    this.#notify(key);
  }

  /** Set a key from its current value, which another window may just have changed. */
  update(key, change) {
    this.set(key, change(this.get(key)));
  }

  /** Call `listener(value)` at every change, from this window or another. */
  subscribe(key, listener) {
    this.#listeners.set(key, [...(this.#listeners.get(key) ?? []), listener]);
  }

  /** Remove every key that has subscribers. */
  clear() {
    const keys = new Set([...this.#unsaved.keys(), ...this.#listeners.keys()]);
    keys.forEach((key) => this.set(key, undefined));
  }

  /** Handle a storage event of the window, sent by another window. */
  onStorage({ key }) {
    if (key === null) [...this.#listeners.keys()].forEach((one) => this.#notify(one));
    else if (key.startsWith(PREFIX)) this.#notify(key.slice(PREFIX.length));
  }

  #notify(key) {
    for (const listener of this.#listeners.get(key) ?? []) listener(this.get(key));
  }

  #report(error) {
    if (!this.#isReported) this.#onTrouble(error);
    this.#isReported = true;
  }
}
