import assert from "node:assert/strict";
import { createServer } from "node:http";
import { mock, test } from "node:test";

import { keyUrl, Poller } from "../../site/js/results/poller.js";

/** A page that can be hidden. */
class Page extends EventTarget {
  hidden = false;
  hide(isHidden) {
    this.hidden = isHidden;
    this.dispatchEvent(new Event("visibilitychange"));
  }
}

/** Run a body against a bucket whose objects are changed by the test. */
async function withBucket(body) {
  const objects = new Map();
  const asked = [];
  const server = createServer((request, answer) => {
    asked.push(request.url);
    const content = objects.get(request.url);
    answer
      .writeHead(content === undefined ? 403 : 200)
      .end(
        content === undefined
          ? ""
          : typeof content === "string"
            ? content
            : JSON.stringify(content),
      );
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const page = new Page();
  const poller = new Poller(`http://127.0.0.1:${server.address().port}`, () => new Date(), page);
  try {
    await body({ objects, asked, page, poller });
  } finally {
    page.hide(true);
    server.closeAllConnections();
    server.close();
  }
}

/** What a listener hears, one after the other. */
function ear() {
  const heard = [];
  const waiting = [];
  return {
    listen: (seen) => (waiting.length ? waiting.shift()(seen) : heard.push(seen)),
    next: () =>
      heard.length
        ? Promise.resolve(heard.shift())
        : new Promise((resolve) => waiting.push(resolve)),
  };
}

const STATUS = "/processed/41/status.json";

test("a job is polled until it has ended", () =>
  withBucket(async ({ objects, asked, poller }) => {
    const { listen, next } = ear();
    poller.follow("41", listen);
    const first = await next();
    assert.deepEqual([first.isThere, first.status.state, first.trouble], [false, "queued", ""]);
    objects.set(STATUS, { state: "done" });
    await poller.poll("41");
    assert.deepEqual([(await next()).status.state, asked.length], ["done", 2]);
    poller.follow("41", listen);
    assert.equal((await next()).status.state, "done");
    assert.equal(asked.length, 2);
  }));

test("a failed request keeps the last status, with the reason", () =>
  withBucket(async ({ objects, poller }) => {
    const { listen, next } = ear();
    objects.set(STATUS, { state: "running", days: [1, 2] });
    poller.follow("41", listen);
    await next();
    objects.set(STATUS, '{"state": "ru');
    await poller.poll("41");
    const seen = await next();
    assert.deepEqual([seen.status.state, seen.isThere], ["running", true]);
    assert.match(seen.trouble, /invalid JSON/);
  }));

test("a hidden page sends no requests, and a visible one sends them at once", () =>
  withBucket(async ({ objects, asked, page, poller }) => {
    const { listen, next } = ear();
    objects.set(STATUS, { state: "running" });
    const later = mock.method(globalThis, "setTimeout");
    const planned = () =>
      later.mock.calls.filter((call) => String(call.arguments[0]).includes("this.poll(")).length;
    page.hide(true);
    poller.follow("41", listen);
    await next();
    assert.equal(planned(), 0);
    page.hide(false);
    await next();
    assert.equal(asked.length, 2);
    assert.equal(planned(), 1);
    later.mock.restore();
  }));

test("a job without followers is removed", () =>
  withBucket(async ({ asked, poller }) => {
    const { listen, next } = ear();
    const stop = poller.follow("41", listen);
    await next();
    stop();
    await poller.poll("41");
    assert.equal(asked.length, 1);
  }));

test("the heartbeat is passed to all listeners", () =>
  withBucket(async ({ objects, poller }) => {
    const [one, other] = [ear(), ear()];
    objects.set("/processed/_service.json", {
      updated: new Date().toISOString(),
      queued: 0,
      running: 1,
    });
    poller.followService(one.listen);
    assert.equal((await one.next()).text, "The service is up: 1 job running.");
    poller.followService(other.listen);
    assert.equal((await other.next()).isUp, true);
  }));

test("keys are encoded in addresses", () => {
  assert.equal(
    keyUrl("http://h/b", "processed/41/a b#?.h5"),
    "http://h/b/processed/41/a%20b%23%3F.h5",
  );
});
