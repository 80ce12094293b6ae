"""The submit function, with events of an HTTP API."""

from __future__ import annotations

import base64
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from hosting import PARAMS, STATIONS, keys
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto import mock_aws

from xcor_daemon.errors import ConfigError, UnreachableError
from xcor_daemon.storage.bucket import Bucket
from xcor_daemon.web import aws_lambda
from xcor_daemon.web.aws_lambda import Gateway, handler
from xcor_daemon.web.quota import Quota

PAGE = "https://d111111abcdef8.cloudfront.net"
GOOD = json.dumps({"stations": STATIONS.decode(), "params": PARAMS.decode()})
DAY = 1_800_000_000.0


def event(
    body: str | None = GOOD,
    path: str = "/jobs",
    method: str = "POST",
    source: str = "192.0.2.1",
    encoded: bool = False,
    **headers: str,
) -> dict[str, Any]:
    """An event as in the AWS documentation of payload format 2.0, with fields that are not used."""
    headers = {"content-type": "application/json", "host": "id.execute-api.us-west-2.amazonaws.com",
               "x-forwarded-for": source, **headers}  # fmt: skip
    return {
        "version": "2.0",
        "routeKey": f"{method} {path}",
        "rawPath": path,
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "id",
            "domainName": "id.execute-api.us-west-2.amazonaws.com",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": source,
                     "userAgent": "agent"},
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": f"{method} {path}",
            "stage": "$default",
            "time": "22/Nov/2026:18:22:53 +0000",
            "timeEpoch": 1795371773000,
        },
        "body": body,
        "isBase64Encoded": encoded,
    }  # fmt: skip


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client("s3", region_name="us-east-1")


@pytest.fixture
def store(client) -> Bucket:
    """A bucket of the test's own."""
    name = f"xcor-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    return Bucket(client, name, settle=0)


@pytest.fixture
def service(store: Bucket) -> Gateway:
    return Gateway(store, Quota(store, 3, 5, lambda: DAY), frozenset([PAGE]))


def ask(service: Gateway, **given: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
    reply = service.answer(event(**given))
    body = json.loads(reply["body"]) if reply["body"] else {}
    return reply["statusCode"], body, reply["headers"]


def test_a_page_sends_a_job(service, store):
    status, answer, headers = ask(service, origin=PAGE)

    assert status == 201
    assert headers["access-control-allow-origin"] == PAGE
    (job,) = store.waiting().jobs
    assert job.id == answer["id"]


def test_a_program_sends_a_job_without_an_origin(service):
    status, _, headers = ask(service)

    assert status == 201
    assert "access-control-allow-origin" not in headers


def test_a_body_that_the_gateway_encoded_is_the_same(service, store):
    assert ask(service, body=base64.b64encode(GOOD.encode()).decode(), encoded=True)[0] == 201
    assert len(store.waiting().jobs) == 1


def test_a_job_is_cancelled_by_its_id(service, store):
    job_id = ask(service)[1]["id"]

    assert ask(service, path=f"/jobs/{job_id}/cancel", body=None)[0] == 202
    assert f"incoming/{job_id}/cancel" in keys(store)
    assert ask(service, path="/jobs/41/cancel", body=None)[0] == 404


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", PAGE + ".evil.example"])
@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_a_foreign_page_is_rejected_at_its_preflight_request(service, store, origin, method):
    status, _, headers = ask(service, origin=origin, method=method)

    assert status == 403
    assert "access-control-allow-origin" not in headers
    assert keys(store) == []


def test_our_page_may_send_a_preflight_request(service):
    status, _, headers = ask(service, method="OPTIONS", origin=PAGE, body=None)

    assert status == 204
    assert headers["access-control-allow-origin"] == PAGE
    assert headers["access-control-allow-methods"] == "POST"
    assert headers["access-control-allow-headers"] == "content-type"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "json"])
def test_content_types_of_forms_are_rejected(service, store, kind):
    assert ask(service, **{"content-type": kind})[0] == 415
    assert keys(store) == []


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/", "POST", 404), ("/jobs/", "POST", 404), ("/jobs/../x/cancel", "POST", 404),
     ("/jobs/12345678901234567/cancel", "POST", 404), ("/jobs", "GET", 415)],
)  # fmt: skip
def test_other_paths_are_404(service, path, method, status):
    assert ask(service, path=path, method=method)[0] == status


def test_an_invalid_request_gets_its_problems_and_is_not_counted(service, store):
    for _ in range(4):
        wrong = json.dumps({"stations": STATIONS.decode(), "params": "fs\n1\n"})
        status, answer, _ = ask(service, body=wrong)
        assert status == 422
        assert answer["problems"][0]["file"] == "params.csv"

    assert keys(store) == []
    assert ask(service)[0] == 201


# --- the day's places ---


def test_each_network_has_its_own_quota(service):
    assert [ask(service)[0] for _ in range(4)] == [201, 201, 201, 429]
    assert ask(service, source="192.0.2.2")[0] == 201


def test_all_networks_share_the_total_quota(service):
    taken = [ask(service, source=f"192.0.2.{k}")[0] for k in range(6)]

    assert taken == [201] * 5 + [429]


def test_all_addresses_of_a_customer_count_as_one(service):
    sources = [f"2001:db8:1:2::{k:x}" for k in range(4)]

    assert [ask(service, source=source)[0] for source in sources] == [201, 201, 201, 429]
    assert ask(service, source="2001:db8:1:3::1")[0] == 201


def test_a_new_day_has_a_new_quota(service, store):
    for _ in range(4):
        ask(service)
    tomorrow = replace(service, quota=Quota(store, 3, 5, lambda: DAY + 86400))

    assert ask(tomorrow)[0] == 201


def test_a_repeated_launch_is_counted_once(service, store):
    for _ in range(2):
        ask(service)
    launched = json.dumps({**json.loads(GOOD), "launch": "0" * 32})

    answers = [ask(service, body=launched)[:2] for _ in range(3)]

    assert answers[0][0] == 201
    assert answers == [answers[0]] * 3
    assert len(store.waiting().jobs) == 3
    assert ask(service, body=launched.replace("0" * 32, "1" * 32))[0] == 429


def test_no_address_is_stored(service, store):
    ask(service, source="192.0.2.77")

    (mark,) = keys(store, "quota/")
    assert mark.startswith("quota/2027-01-15/")
    assert "192.0.2.77" not in mark


def test_a_forged_forwarded_address_has_no_quota_of_its_own(service):
    def ask_as(forged: str) -> int:
        return ask(service, **{"x-forwarded-for": forged})[0]

    assert [ask_as(f"10.0.0.{k}") for k in range(4)] == [201, 201, 201, 429]


@pytest.mark.parametrize(("one", "all_"), [(0, 5), (6, 5), (5, 1000)])
def test_a_job_is_rejected_where_the_quota_cannot_be_read(store, one, all_):
    with pytest.raises(ValueError, match="0 < of_one <= of_all < 1000"):
        Quota(store, one, all_)


# --- trouble ---


def test_an_outage_is_reported_without_its_details(service):
    class Away:
        def names(self, prefix):
            raise UnreachableError("S3 at http://10.0.0.1 does not answer")

    away = replace(service, quota=Quota(Away(), 3, 5))
    status, answer, _ = ask(away)

    assert status == 503
    assert "10.0.0.1" not in json.dumps(answer)


def test_the_function_reads_its_environment_once(store, monkeypatch):
    environ = {"XCOR_BUCKET": store.name, "XCOR_ORIGINS": PAGE, "XCOR_JOBS_PER_DAY": "9",
               "XCOR_JOBS_PER_DAY_OF_ONE": "2", "AWS_DEFAULT_REGION": "us-east-1"}  # fmt: skip
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    aws_lambda._gateway.cache_clear()

    assert handler(event(origin=PAGE), None)["statusCode"] == 201
    del os.environ["XCOR_BUCKET"]
    assert handler(event(), None)["statusCode"] == 201
    assert handler(event(), None)["statusCode"] == 429
    aws_lambda._gateway.cache_clear()


@pytest.mark.parametrize("missing", ["XCOR_ORIGINS", "XCOR_JOBS_PER_DAY_OF_ONE", "XCOR_BUCKET"])
def test_a_missing_environment_variable_is_named(missing):
    environ = {"XCOR_BUCKET": "xcor", "XCOR_ORIGINS": PAGE, "XCOR_JOBS_PER_DAY": "9",
               "XCOR_JOBS_PER_DAY_OF_ONE": "2"}  # fmt: skip
    del environ[missing]

    with pytest.raises(ConfigError, match=missing):
        Gateway.from_env(environ)


BODIES = st.one_of(
    st.tuples(st.none() | st.text(st.characters()) | st.just("\ud800"), st.just(False)),
    st.tuples(st.binary().map(lambda content: base64.b64encode(content).decode()), st.just(True)),
)


@settings(max_examples=50, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(
    sent=BODIES,
    path=st.sampled_from(["/jobs", "/jobs/41/cancel"]) | st.text(),
    method=st.sampled_from(["POST", "GET", "OPTIONS"]),
    kind=st.sampled_from(["application/json", "application/json; charset=utf-8"]) | st.text(),
)
def test_any_request_gets_a_well_formed_response_and_leaves_no_object(
    service, store, sent, path, method, kind
):
    body, encoded = sent
    given = event(body, path, method, encoded=encoded, **{"content-type": kind})
    reply = service.answer(given)

    assert reply["statusCode"] in (204, 400, 404, 415)
    assert not reply["body"] or isinstance(json.loads(reply["body"]), dict)
    assert keys(store) == []
