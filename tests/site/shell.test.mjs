import assert from "node:assert/strict";
import { test } from "node:test";

import { setClock } from "../../site/js/lib/clock.js";
import { formatCsv, parseCsv } from "../../site/js/lib/csv.js";
import { readHash, writeHash } from "../../site/js/lib/router.js";
import { Store } from "../../site/js/lib/store.js";

class MemoryStorage {
  #items = new Map();
  get length() {
    return this.#items.size;
  }
  getItem(key) {
    return this.#items.get(key) ?? null;
  }
  setItem(key, value) {
    this.#items.set(key, value);
  }
  removeItem(key) {
    this.#items.delete(key);
  }
}

test("two windows with one storage share their values", () => {
  const storage = new MemoryStorage();
  const [here, there] = [
    new Store(() => storage, assert.fail),
    new Store(() => storage, assert.fail),
  ];
  const heard = [];
  there.subscribe("jobs", (value) => heard.push(value));
  here.set("jobs", ["1"]);
  there.onStorage({ key: "xcor.jobs" });
  there.update("jobs", (ids) => [...ids, "2"]);

  assert.deepEqual(heard, [["1"], ["1", "2"]]);
  assert.deepEqual(here.get("jobs"), ["1", "2"]);
});

test("with a full storage, values live as long as the page, and the error is reported once", () => {
  const told = [];
  const full = new MemoryStorage();
  full.setItem = () => {
    throw new DOMException("full", "QuotaExceededError");
  };
  const store = new Store(
    () => full,
    (error) => told.push(error.name),
  );
  store.set("stations", "a");
  store.set("params", "b");

  assert.equal(store.get("stations"), "a");
  assert.deepEqual(told, ["QuotaExceededError"]);
});

test("invalid values of the storage are ignored", () => {
  const storage = new MemoryStorage();
  storage.setItem("xcor.params", "{half");
  storage.setItem("another page's", "stays");
  const store = new Store(() => storage, assert.fail);

  assert.equal(store.get("params"), undefined);
  store.subscribe("params", () => {});
  store.clear();
  assert.equal(storage.getItem("another page's"), "stays");
  assert.equal(storage.length, 1);
});

test("an address is read as it was written, and is readable", () => {
  const hash = writeHash("map", {
    network: "TA,US",
    channel: "BH?",
    start: "2006-07-21T00:00",
    empty: "",
  });

  assert.equal(hash, "#map?network=TA,US&channel=BH?&start=2006-07-21T00:00");
  const { tab, params } = readHash(hash, ["map", "xcor"]);
  assert.equal(tab, "map");
  assert.equal(params.get("channel"), "BH?");
  assert.equal(readHash("#no-such-tab?id=1", ["map", "jobs"]).tab, "map");
  assert.equal(readHash("", ["map", "jobs"]).tab, "map");
});

test("the clock of the server is used where that of the computer is wrong", () => {
  const server = Date.UTC(2026, 10, 22, 12);
  let ticks = 5000;
  const clock = setClock(new Date(server).toUTCString(), { own: () => 0, ticks: () => ticks });
  ticks += 61_000;

  assert.equal(clock.now().getTime(), server + 61_000);
  assert.ok(clock.offBy < 0);
});

test("a clock that is right or cannot be checked is used", () => {
  const own = Date.UTC(2026, 10, 22, 12);
  for (const date of [new Date(own - 3000).toUTCString(), null, "nonsense"]) {
    const clock = setClock(date, { own: () => own, ticks: () => 0 });
    assert.equal(clock.now().getTime(), own);
    assert.equal(clock.offBy, 0);
  }
});

test("a CSV is read as in Python: quotes, byte order mark, any line ends", () => {
  const rows = parseCsv('\uFEFFa,"b, ""c""",\r\n\n1,2,3\n');

  assert.deepEqual(rows, [
    { line: 1, cells: ["a", 'b, "c"', ""], wrong: "" },
    { line: 2, cells: [""], wrong: "" },
    { line: 3, cells: ["1", "2", "3"], wrong: "" },
  ]);
  const [bad, good] = parseCsv('a,"b\n1,2');
  assert.match(bad.wrong, /quoted cell/);
  assert.deepEqual(good.cells, ["1", "2"]);
});

test("cells with commas, quotes and line ends are quoted", () => {
  assert.equal(formatCsv([["a", 'b"c', "d,e", 5]]), 'a,"b""c","d,e",5\n');
});
