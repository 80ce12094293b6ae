/** What outlives a reload: values under names, shared with other tabs of the browser. */

const PREFIX = "xcor.";

/**
 * A store over a `Storage`; values are anything JSON can hold.
 *
 * Every read goes to the storage, so two tabs of the browser never work on stale values. Where
 * the storage is full or forbidden, values live as long as the page and `onTrouble` is told once.
 *
 * @param {() => Storage} open  gives the storage; even that may be forbidden
 * @param {(error: Error) => void} onTrouble
 */
export function openStore(open, onTrouble) {
  const kept = new Map(); // what the storage would not take
  const listeners = new Map();
  let isTold = false;

  function tell(key) {
    for (const listener of listeners.get(key) ?? []) listener(get(key));
  }

  function trouble(error) {
    if (!isTold) onTrouble(error);
    isTold = true;
  }

  /** The value of a key; undefined where there is none, or none that can be read. */
  function get(key) {
    if (kept.has(key)) return kept.get(key);
    try {
      return JSON.parse(open().getItem(PREFIX + key) ?? "null") ?? undefined;
    } catch (error) {
      if (!(error instanceof SyntaxError)) trouble(error);
      return undefined;
    }
  }

  /** Set a key, undefined forgets it; everybody who subscribed is told. */
  function set(key, value) {
    try {
      if (value === undefined) open().removeItem(PREFIX + key);
      else open().setItem(PREFIX + key, JSON.stringify(value));
      kept.delete(key);
    } catch (error) {
      kept.set(key, value);
      trouble(error);
    }
    tell(key);
  }

  return {
    get,
    set,
    /** Set a key from its newest value, which another tab may have written just now. */
    update: (key, change) => set(key, change(get(key))),
    /** Call `listener(value)` at every change, from this tab or from another one. */
    subscribe(key, listener) {
      listeners.set(key, [...(listeners.get(key) ?? []), listener]);
    },
    /** Forget every key that anybody subscribed to. */
    clear() {
      const keys = new Set([...kept.keys(), ...listeners.keys()]);
      keys.forEach((key) => set(key, undefined));
    },
    /** To be called with the storage events of the window, which come from other tabs. */
    onStorage(event) {
      if (event.key === null) [...listeners.keys()].forEach(tell);
      else if (event.key.startsWith(PREFIX)) tell(event.key.slice(PREFIX.length));
    },
  };
}
