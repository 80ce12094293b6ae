import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { answer } from "./answer.mjs";

const GOLDEN = new URL("golden/", import.meta.url);

for (const name of readdirSync(GOLDEN)) {
  const read = (file) => readFileSync(new URL(`${name}/${file}`, GOLDEN), "utf-8");
  test(`the page reads ${name} as it is meant`, () => {
    assert.deepEqual(
      answer(read("stations.csv"), read("params.csv")),
      JSON.parse(read("expected.json")),
    );
  });
}
