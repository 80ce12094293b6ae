"""The tab Jobs with the services of the demo: jobs in every state, and failures."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from hosting import wait_until
from jobs_of import ago, send, wait_for_end
from playwright.sync_api import Page, expect

from xcor_daemon.workers.supervisor import read_record

pytestmark = pytest.mark.real


@pytest.fixture(autouse=True)
def _a_console_that_tells_what_is_not_there_yet(visitor) -> None:
    visitor.expected.append("status of 404")


def open_job(page: Page, demo, job_id: str):
    """The card of a job."""
    page.goto(f"{demo.page}/#jobs?id={job_id}")
    card = page.locator(".detail")
    expect(card).to_be_visible()
    return card


def test_job_is_followed_from_submission_to_results(page, demo, small_job, shoot, check_access):
    card = open_job(page, demo, small_job)
    expect(card.get_by_text("Done", exact=True)).to_be_visible(timeout=120_000)
    expect(card.locator("dd", has_text=re.compile("^10$"))).to_be_visible()  # pairs of 5 channels

    page.get_by_text("End of the log").click()
    expect(page.get_by_role("region", name="End of the log")).to_contain_text("10 pairs")
    check_access(page)
    shoot(page, "jobs_done")
    page.reload()
    expect(page.get_by_role("link", name="Correlation job")).to_contain_text("Done")
    page.get_by_role("link", name="View results").click()
    expect(page.get_by_role("tabpanel", name="Stacking")).to_contain_text("10 pairs")


def hold_worker(demo, job: str) -> int:
    """Have the worker of a job wait, or it may be through before a person is; gives its process."""

    def found() -> list[dict]:
        records = map(read_record, demo.folder.glob(f"work/*/{job}"))
        return [record["worker"] for record in records if "worker" in record]

    wait_until(found)
    (worker,) = found()
    os.kill(worker["pid"], signal.SIGSTOP)
    return worker["pid"]


def is_asked_to_end(process: int) -> bool:
    """Whether SIGTERM waits for a process that was stopped."""
    status = Path(f"/proc/{process}/status").read_text()
    pending = int(re.search(r"^ShdPnd:\s*(\w+)$", status, re.MULTILINE)[1], 16)
    return bool(pending & 1 << signal.SIGTERM - 1)


def test_job_is_cancelled_after_confirmation(page, demo, check_access):
    job = send(demo, 24)
    worker = hold_worker(demo, job)
    card = open_job(page, demo, job)
    card.get_by_role("button", name="Cancel job").click()
    expect(card.get_by_role("button", name="Keep running")).to_be_focused()
    check_access(page)
    card.get_by_role("button", name="Keep running").click()
    expect(card.get_by_role("button", name="Cancel job")).to_be_focused()

    card.get_by_role("button", name="Cancel job").click()
    card.get_by_role("button", name="Yes, cancel it").click()
    wait_until(lambda: is_asked_to_end(worker))
    os.kill(worker, signal.SIGCONT)

    expect(card.get_by_text("Cancelled", exact=True)).to_be_visible(timeout=60_000)
    expect(card).to_contain_text("cancelled by its user")
    expect(card.get_by_role("button", name="Cancel job")).to_be_hidden()
    assert wait_for_end(demo, job)["state"] == "cancelled"


STATES = {
    "queued": (
        {"state": "queued", "stage": "queued (3 jobs ahead)", "ahead": 3},
        ["Queued", "3 jobs ahead in the queue"],
    ),
    "running": (
        {"stage": "2021-03-04: 1,200 of 4,000 pair-windows, 900/s", "days": [62, 365],
         "pairs": 276, "eta_s": 5400, "log_tail": ["2021-03-03: 276 pairs in 8.1 s"],
         "warnings": [{"code": "nodata", "channel": "TA.I07A..BHZ", "day": "2021-03-02",
                       "text": "no data"}]},
        ["Running", "62 of 365 days", "about 2 h remaining", "1 warning"],
    ),
    "silent": (
        {"stage": "running", "updated": ago(minutes=20)},
        ["No status update for this job since", "although the service is up"],
    ),
    "failed": (
        {"state": "failed", "reason": "failed after 2 attempts: the worker exited with status 1: "
         "MemoryError", "log_tail": ["Traceback", "MemoryError"]},
        ["Failed", "failed after 2 attempts", "exceeded its memory limit", "Traceback"],
    ),
    "refused": (
        {"state": "rejected", "reason": "stations.csv line 2: EndDate = 2019-13-01 is not a date\n"
         "stations.csv line 3: Station = nao1 is no code"},
        ["Rejected", "stations.csv line 3", "Correct the errors above"],
    ),
    "markup": (
        {"state": "failed", "stage": "<b>x</b>", "reason": "<img src=x onerror=alert(1)>",
         "log_tail": ["<script>alert(1)</script>"], "warnings": [{"text": "<i>"}]},
        ["<img src=x onerror=alert(1)>", "<script>alert(1)</script>"],
    ),
}  # fmt: skip


def test_every_state_is_described(page, demo, store, shoot, check_access):
    for job, (name, (status, words)) in enumerate(STATES.items(), start=9_000):
        store.put_status(str(job), **status)
        card = open_job(page, demo, str(job))

        for text in words:
            expect(card).to_contain_text(text)
        check_access(page)
        shoot(page, f"jobs_{name}")


def test_unknown_job_is_polled(page, demo, shoot, check_access):
    card = open_job(page, demo, "1234567890123456")

    expect(card).to_contain_text("submitted; waiting for the service")
    card.get_by_role("button", name="Cancel job").click()
    card.get_by_role("button", name="Yes, cancel it").click()
    expect(card).to_contain_text("could not cancel: unknown job")
    check_access(page)
    card.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("No jobs in this browser yet.")).to_be_visible()
    check_access(page)
    shoot(page, "jobs_none")


def test_unresponsive_service_is_shown_with_its_last_heartbeat(page, demo, store, check_access):
    beat = {"updated": ago(hours=3), "next": ago(hours=2.9), "queued": 1, "running": 0}
    page.route("**/_service.json", lambda route: route.fulfill(json=beat, headers=CORS))
    store.put_status("9100", stage="running", updated=ago(hours=3))
    card = open_job(page, demo, "9100")

    since = re.compile("has not responded since .* UTC, 3 h ago")
    expect(page.locator(".service")).to_contain_text(since)
    expect(card).to_contain_text("the service is not responding either")
    check_access(page)


CORS = {"Access-Control-Allow-Origin": "*"}
FOREIGN = {"Access-Control-Allow-Origin": "http://elsewhere.example"}
FAILURES = {
    "error": (lambda route: route.fulfill(status=500, headers=CORS), "responded with status 500"),
    "html": (
        lambda route: route.fulfill(status=200, headers=CORS, body="<html>proxy"),
        "returned invalid JSON",
    ),
    "half": (
        lambda route: route.fulfill(status=200, headers=CORS, body='{"state": "runn'),
        "returned invalid JSON",
    ),
    "away": (lambda route: route.abort(), "cannot be reached from this page"),
    "no CORS": (lambda route: route.fulfill(json={}, headers=FOREIGN), "(CORS)"),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_failure_is_reported_and_retried(visitor, page, demo, store, check_access, kind):
    visitor.expected += ["Failed to load", "CORS policy"]
    answer, words = FAILURES[kind]
    store.put_status("9200", stage="reading", days=[1, 2])
    page.route("**/processed/9200/status.json", answer)
    card = open_job(page, demo, "9200")
    expect(card).to_contain_text(words)
    expect(card).to_contain_text("This page will retry")
    check_access(page)

    page.unroute("**/processed/9200/status.json")
    # A window that is looked at again asks at once.
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    expect(card).to_contain_text("1 of 2 days")
    expect(card).not_to_contain_text("will retry")


def test_job_is_opened_by_number_or_link_with_the_keyboard(page, demo, store):
    store.put_status("9300", state="done", stage="finished", kind="stack")
    page.goto(f"{demo.page}/#jobs")
    field = page.get_by_label("Open a job")
    field.focus()
    page.keyboard.type("x9300")
    page.keyboard.press("Enter")
    expect(page.get_by_text("A job number has up to 16 digits")).to_be_visible()
    expect(field).to_be_focused()

    field.fill("")
    page.keyboard.type("https://elsewhere.example/#jobs?id=9300")
    page.keyboard.press("Enter")

    expect(page).to_have_url(re.compile(r"#jobs\?id=9300$"))
    expect(page.locator(".detail")).to_contain_text("Stacking job 9300")


def test_two_windows_share_the_list_of_jobs(visitor, demo, store):
    store.put_status("9400", state="done", stage="finished")
    one, other = visitor.open(f"{demo.page}/#jobs"), visitor.open(f"{demo.page}/#jobs")
    one.get_by_label("Open a job").fill("9400")
    one.keyboard.press("Enter")
    expect(other.get_by_role("link", name="Correlation job 9400")).to_be_visible()

    one.get_by_role("button", name="Remove").click()

    expect(other.get_by_role("link", name="Correlation job 9400")).to_be_hidden()


def test_tab_in_dark_mode_on_a_small_screen(page, demo, store, shoot, check_access):
    page.set_viewport_size({"width": 420, "height": 800})
    page.emulate_media(color_scheme="dark")
    status, _ = STATES["running"]
    store.put_status("9500", **status)
    open_job(page, demo, "9500")
    expect(page.locator(".detail")).to_contain_text("62 of 365 days")

    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    check_access(page)
    shoot(page, "jobs_dark_small")
