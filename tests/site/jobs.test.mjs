import assert from "node:assert/strict";
import { test } from "node:test";

import { forget, idIn, storedJobs, note, remember } from "../../site/js/results/job_list.js";
import {
  advice,
  ago,
  pollDelay,
  progressText,
  readStatus,
  serviceText,
  share,
  silenceText,
  warningText,
} from "../../site/js/results/status.js";
import { counted, duration, number, sentence, size } from "../../site/js/lib/format.js";

const NOW = new Date("2026-11-22T12:00:00Z");
const minutes = (n) => new Date(NOW.getTime() - n * 60_000).toISOString();

/** A store that holds what it is given. */
function plainStore(jobs) {
  const held = { jobs };
  return { get: (key) => held[key], set: (key, value) => (held[key] = value) };
}

test("jobs are followed once, newest first, and removed", () => {
  const store = plainStore(undefined);
  remember(store, { id: 41, kind: "xcor", title: "two" }, NOW);
  remember(store, { id: "42" }, NOW);
  remember(store, { id: "41", title: "again" }, NOW);
  note(store, "41", { state: "done" });
  note(store, "99", { state: "done" });

  assert.deepEqual(
    storedJobs(store).map(({ id, title, state }) => [id, title, state]),
    [
      ["42", "", ""],
      ["41", "two", "done"],
    ],
  );
  forget(store, "42");
  assert.deepEqual(
    storedJobs(store).map((job) => job.id),
    ["41"],
  );
});

test("invalid entries of the store are ignored", () => {
  for (const odd of [
    null,
    "x",
    7,
    {},
    [null, 7, "41", { id: "x" }, { id: "<b>" }, { id: 12345678901234567n }],
  ]) {
    assert.deepEqual(storedJobs(plainStore(odd)), []);
  }
});

test("an id is found in a number or in a link only", () => {
  assert.equal(idIn(" 4180812345678901\n"), "4180812345678901");
  assert.equal(idIn("http://h/#jobs?id=41"), "41");
  assert.equal(idIn("https://h/x/index.html#jobs/41"), "41");
  assert.equal(idIn("https://b.s3.example/processed/41/manifest.json"), "41");
  for (const text of ["", "x41", "12345678901234567", "#jobs?id=12345678901234567", "https://h/41"])
    assert.equal(idIn(text), null);
});

test("a status of any shape is checked", () => {
  const bad = {
    state: "<b>",
    days: ["x", -1],
    eta_s: "soon",
    warnings: [null, 1, { text: "t" }],
    log_tail: "x",
    ahead: -1,
    manifest: 7,
    updated: "?",
  };
  const status = readStatus(bad);

  assert.deepEqual(
    [
      status.state,
      status.days,
      status.eta,
      status.ahead,
      status.log,
      status.manifest,
      status.updated,
    ],
    ["", [0, 0], null, null, [], null, null],
  );
  assert.equal(status.warnings.length, 1);
  for (const raw of [null, 7, "x", []]) assert.equal(typeof readStatus(raw).stage, "string");
});

test("progress is described in a sentence", () => {
  const running = readStatus({
    state: "running",
    stage: "2019-01-01: 5 of 24 channels",
    days: [3, 12],
    eta_s: 95,
  });
  assert.equal(
    progressText(running),
    "2019-01-01: 5 of 24 channels · 3 of 12 days · about 2 min remaining",
  );
  assert.equal(share(running), 0.25);
  const queued = (ahead) => progressText(readStatus({ state: "queued", stage: "waits", ahead }));
  assert.deepEqual(
    [queued(0), queued(1), queued(3), queued(null)],
    ["next in the queue", "1 job ahead in the queue", "3 jobs ahead in the queue", "waits"],
  );
  assert.equal(progressText(readStatus({ state: "done", stage: "finished" })), "");
  assert.equal(
    progressText(readStatus({ state: "done", stage: "finished; days that failed: 2" })),
    "finished; days that failed: 2",
  );
  assert.equal(share(readStatus({ state: "failed", days: [1, 2] })), null);
});

test("the service is up until its next heartbeat is overdue", () => {
  const beat = (updated, next, more = {}) =>
    serviceText({ updated: minutes(updated), next: minutes(next), ...more }, NOW);
  assert.deepEqual(beat(0.2, -0.8, { queued: 3, running: 1 }), {
    isUp: true,
    text: "The service is up: 1 job running, 3 jobs waiting.",
  });
  assert.equal(beat(0.2, -0.8, {}).text, "The service is up and idle.");
  assert.deepEqual(beat(40, 39), {
    isUp: false,
    text: "The service has not responded since 11:20 UTC, 40 min ago; jobs wait until it is back.",
  });
  assert.match(beat(3 * 1440, 3 * 1440).text, /since 2026-11-19 12:00 UTC; jobs wait/);
  for (const raw of [null, {}, { updated: "x" }]) assert.equal(serviceText(raw, NOW).isUp, null);
});

test("a job without updates is reported, with the state of the service", () => {
  const silent = readStatus({ state: "running", updated: minutes(20) });
  assert.match(
    silenceText(silent, { isUp: true }, NOW),
    /^No status update for this job since 11:40 UTC, 20 min ago, although the service is up/,
  );
  assert.match(silenceText(silent, { isUp: false }, NOW), /service is not responding either/);
  assert.equal(
    silenceText(readStatus({ state: "running", updated: minutes(1) }), { isUp: true }, NOW),
    "",
  );
  assert.equal(
    silenceText(readStatus({ state: "done", updated: minutes(900) }), { isUp: false }, NOW),
    "",
  );
});

test("a job of version 0.1.0 without a correlation has a reason", () => {
  const done = { state: "done", kind: "xcor", pairs: 0, stage: "finished", reason: null };
  assert.match(readStatus(done).reason, /^no correlation was made/);
  assert.equal(readStatus({ ...done, pairs: 276 }).reason, "");
  assert.equal(readStatus({ ...done, kind: "stack" }).reason, "");
  assert.equal(readStatus({ ...done, state: "running" }).reason, "");
});

test("channel-days without a correlation are shown for a finished job", () => {
  const stage = "finished; channel-days without a correlation: 14";
  assert.equal(progressText(readStatus({ state: "done", kind: "xcor", pairs: 3, stage })), stage);
});

test("invalid rates and times are not shown", () => {
  for (const eta_s of [-3, 0, NaN, Infinity, "soon", null]) {
    const status = readStatus({ state: "running", stage: "2019-01-01", days: [1, 2], eta_s });
    assert.equal(progressText(status), "2019-01-01 · 1 of 2 days");
  }
  assert.equal(share(readStatus({ state: "running", days: [0, 0] })), null);
  assert.equal(share(readStatus({ state: "running", days: [-1, NaN] })), null);
  assert.equal(share(readStatus({ state: "running", days: [5, 4] })), 1);
});

test("each failure has its own advice", () => {
  const failed = [
    "the worker ran out of memory",
    "the worker ran longer than 86400 s, the limit of this service",
    "no space left on disk",
    "no day could be processed; the first, 2019-01-01: lost",
    "the source does not answer",
    "failed after 3 attempts: killed from outside",
    "no correlation was made: the archive does not have this channel (4 of 4 channel-days)",
  ];
  const told = failed.map((reason) => advice("failed", reason));
  assert.equal(new Set(told).size, failed.length);
  assert.equal(
    advice(
      "failed",
      "failed after 8 attempts: no correlation was made: the source does not answer",
    ),
    told[4],
  );
  assert.match(advice("failed", "KeyError: 'x'"), /log/);
  assert.match(advice("rejected", "stations.csv line 4: EndDate is not a date"), /Correct/);
  assert.match(
    advice("rejected", "the job needs 1e13 bytes of disk, more than this service has"),
    /Reduce the request/,
  );
  assert.equal(advice("done", ""), "");
});

test("polling slows down without changes, and further after failures", () => {
  assert.ok(pollDelay(0, 0, 0.5) < 2000);
  assert.equal(pollDelay(50, 0, 0.5), 30_000);
  assert.equal(pollDelay(0, 9, 0.5), 60_000);
  assert.ok(pollDelay(0, 1, 0.5) < pollDelay(0, 2, 0.5));
});

test("numbers are formatted for people", () => {
  assert.deepEqual([0, 999, 1536, 2e9].map(size), ["0 B", "999 B", "1.54 kB", "2.00 GB"]);
  assert.deepEqual([3.2, 95, 7200, 3 * 86400].map(duration), ["4 s", "2 min", "2 h", "3 days"]);
  assert.deepEqual([counted(1, "pair"), counted(1200, "pair")], ["1 pair", "1,200 pairs"]);
  assert.deepEqual([number(-1.256), number(NaN), number(null)], ["−1.26", "–", "–"]);
  assert.deepEqual(["it broke", "It broke."].map(sentence), ["It broke.", "It broke."]);
  assert.equal(ago(new Date("2026-11-20T01:02:03Z"), NOW), "2026-11-20 01:02 UTC");
  assert.equal(
    warningText({ code: "x", channel: "A.B..C", day: "", text: "no data" }),
    "A.B..C · no data",
  );
});
