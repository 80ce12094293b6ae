/** Values by key that outlive a reload, shared with the other windows of the browser. */

const PREFIX = "xcor.";

/**
 * A store over a `Storage`; values are those of JSON.
 *
 * Every read goes to the storage, so two windows never work on stale values. Where the
 * storage is full or forbidden, values live as long as the page, and `onTrouble` is called once.
 *
 * @param {() => Storage} open  returns the storage; even this may be forbidden
 * @param {(error: Error) => void} onTrouble
 */
export function openStore(open, onTrouble) {
  const unsaved = new Map(); // values that the storage did not accept
  const listeners = new Map();
  let isReported = false;

  function notify(key) {
    for (const listener of listeners.get(key) ?? []) listener(get(key));
  }

  function report(error) {
    if (!isReported) onTrouble(error);
    isReported = true;
  }

  /** The value of a key; undefined where there is none or it is invalid. */
  function get(key) {
    if (unsaved.has(key)) return unsaved.get(key);
    try {
      return JSON.parse(open().getItem(PREFIX + key) ?? "null") ?? undefined;
    } catch (error) {
      if (!(error instanceof SyntaxError)) report(error);
      return undefined;
    }
  }

  /** Set a key, or remove it (undefined), and notify its subscribers. */
  function set(key, value) {
    try {
      if (value === undefined) open().removeItem(PREFIX + key);
      else open().setItem(PREFIX + key, JSON.stringify(value));
      unsaved.delete(key);
    } catch (error) {
      unsaved.set(key, value);
      report(error);
    }
    notify(key);
  }

  return {
    get,
    set,
    /** Set a key from its current value, which another window may just have changed. */
    update: (key, change) => set(key, change(get(key))),
    /** Call `listener(value)` at every change, from this window or another. */
    subscribe(key, listener) {
      listeners.set(key, [...(listeners.get(key) ?? []), listener]);
    },
    /** Remove every key that has subscribers. */
    clear() {
      const keys = new Set([...unsaved.keys(), ...listeners.keys()]);
      keys.forEach((key) => set(key, undefined));
    },
    /** Handle a storage event of the window, sent by another window. */
    onStorage(event) {
      if (event.key === null) [...listeners.keys()].forEach(notify);
      else if (event.key.startsWith(PREFIX)) notify(event.key.slice(PREFIX.length));
    },
  };
}
