"""The template's rights on a real S3 server: required actions are allowed, all others denied."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config as ClientConfig
from botocore.exceptions import ClientError
from hosting import PARAMS, STATIONS, FakeLauncher, keys, send, work
from template import Template

from xcor_daemon.config import Config
from xcor_daemon.demo.s3_server import S3Server, start_s3
from xcor_daemon.operations.doctor import run_checks
from xcor_daemon.service.daemon import Daemon
from xcor_daemon.storage.bucket import Bucket
from xcor_daemon.web.aws_lambda import Gateway
from xcor_daemon.web.quota import Quota

pytestmark = pytest.mark.real
BUCKET = "jobs"
# The server knows neither TLS nor this condition, which S3 has since November 2024; and of a
# resource such as processed/*/status.json it takes only what stands before the star.
_NOT_HERE = {"OnlyByTls", "NothingSentIsOverwritten"}


class Rights:
    """A server with IAM, and clients with the rights that the template gives."""

    def __init__(self, server: S3Server) -> None:
        self.server = server
        self.owner = server.client()
        self.iam = boto3.client(
            "iam", endpoint_url=server.endpoint, region_name="us-east-1",
            aws_access_key_id=server.access_key, aws_secret_access_key=server.secret_key,
        )  # fmt: skip

    def template(self, **parameters: str) -> Template:
        template = Template("xcor.yaml", **parameters)
        template.drawn = {"JobsBucket.Arn": f"arn:aws:s3:::{BUCKET}", "JobsBucket": BUCKET}
        return template

    def as_role(self, role: str, policy: str) -> Any:
        """A client with a policy of a role of the template."""
        found = {p["PolicyName"]: p for p in self.template()[role]["Policies"]}
        self.iam.create_user(UserName=role)
        made = self.iam.create_access_key(UserName=role)["AccessKey"]
        document = json.dumps(found[policy]["PolicyDocument"])
        self.iam.put_user_policy(UserName=role, PolicyName=policy, PolicyDocument=document)
        return self.client(
            aws_access_key_id=made["AccessKeyId"], aws_secret_access_key=made["SecretAccessKey"]
        )

    def as_stranger(self) -> Any:
        return self.client(config=ClientConfig(signature_version=UNSIGNED, proxies={}))

    def client(self, **options: Any) -> Any:
        options.setdefault("config", ClientConfig(proxies={}))
        return boto3.session.Session().client(
            "s3", endpoint_url=self.server.endpoint, region_name="us-east-1", **options
        )

    def apply_bucket_policy(self, **parameters: str) -> None:
        document = self.template(**parameters)["JobsBucketPolicy"]["PolicyDocument"]
        kept = [s for s in document["Statement"] if s["Sid"] not in _NOT_HERE]
        policy = json.dumps({**document, "Statement": kept})
        self.owner.put_bucket_policy(Bucket=BUCKET, Policy=policy)


@pytest.fixture(scope="module")
def rights(tmp_path_factory) -> Iterator[Rights]:
    folder = tmp_path_factory.mktemp("iam") / "server"
    with start_s3(folder, ["-s3.iam.readOnly=false"]) as server:
        server.client().create_bucket(Bucket=BUCKET)
        made = Rights(server)
        made.apply_bucket_policy(SiteAccess="website")
        yield made


@pytest.fixture(scope="module")
def daemons(rights) -> Any:
    return rights.as_role("MachineRole", "daemon")


@pytest.fixture(scope="module")
def submits(rights) -> Any:
    return rights.as_role("SubmitRole", "submit")


@pytest.fixture
def owned(rights) -> Bucket:
    """The bucket as its owner sees it, with an object in each of its folders."""
    for key in ("incoming/9/stations.csv", "processed/9/status.json", "leases/9.json",
                "quota/2026-11-22/a/9", "elsewhere/9"):  # fmt: skip
        rights.owner.put_object(Bucket=BUCKET, Key=key, Body=b"{}")
    return Bucket(rights.owner, BUCKET)


def refused(operation: Callable[..., Any], **arguments: Any) -> bool:
    """Whether the server refuses; an answer that names what failed, key by key, counts too."""
    try:
        answer = operation(Bucket=BUCKET, **arguments)
    except ClientError as error:
        return error.response["Error"]["Code"] in ("AccessDenied", "403")
    return {e["Code"] for e in answer.get("Errors", ())} == {"AccessDenied"}


def test_the_submit_function_accepts_cancels_and_counts_jobs(submits, rights):
    bucket = Bucket(submits, BUCKET)
    service = Gateway(bucket, Quota(bucket, 1, 2), frozenset())
    files = {"stations": STATIONS.decode(), "params": PARAMS.decode()}
    http = {"method": "POST", "path": "/jobs", "sourceIp": "::1"}
    asked = {"requestContext": {"http": http}, "headers": {"content-type": "application/json"}}

    replies = [
        service.answer({**asked, "body": json.dumps({**files, "launch": launch})})
        for launch in ("0" * 32, "0" * 32, "1" * 32)  # the second: its answer was lost
    ]
    job_id = json.loads(replies[0]["body"])["id"]
    http["path"] = f"/jobs/{job_id}/cancel"
    replies.append(service.answer(asked))

    assert [reply["statusCode"] for reply in replies] == [201, 201, 429, 202]
    assert replies[1] == replies[0]
    names = [key.rpartition("/")[2] for key in keys(Bucket(rights.owner, BUCKET), "incoming/")]
    assert {"stations.csv", "params.csv", "cancel"} <= set(names)


def test_the_daemon_runs_a_job_from_its_lease_to_its_manifest(daemons, rights, tmp_path):
    send(Bucket(rights.owner, BUCKET), "41")
    store = Bucket(daemons, BUCKET, settle=0, multipart_from=2**20)
    launcher = FakeLauncher()
    config = Config(bucket=BUCKET, work_dir=tmp_path / "work", source="archive:/data", lease=60)
    daemon = Daemon(store, launcher, config)

    with daemon.locked():
        while "41" not in launcher.jobs:
            daemon.run_pass()
        assert keys(store, "leases/41.json")
        work(launcher.jobs["41"].folder, content=bytes(6 * 2**20))
        launcher.end("41")
        while daemon.jobs["41"].is_live:
            daemon.run_pass()

    assert store.read_manifest("41")["id"] == "41"
    assert not keys(store, "leases/41.json")
    assert keys(store, "processed/_service.json")


def test_doctor_passes_with_the_rights_of_the_daemon(daemons, rights, tmp_path):
    config = Config(bucket=BUCKET, endpoint_url=rights.server.endpoint, work_dir=tmp_path)
    credentials = daemons._request_signer._credentials
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", credentials.access_key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", credentials.secret_key)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        found = {result.name: result.state for result in run_checks(config, {})}

    assert found["bucket"] == found["conditional writes"] == found["clock"] == "ok"


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("put_object", {"Key": "incoming/9/stations.csv", "Body": b"mine"}),
        ("put_object", {"Key": "quota/2026-11-22/a/10", "Body": b""}),
        ("put_object", {"Key": "elsewhere/10", "Body": b""}),
        ("create_multipart_upload", {"Key": "incoming/9/params.csv"}),
        ("copy_object", {"Key": "incoming/9/x", "CopySource": f"{BUCKET}/processed/9/status.json"}),
        ("delete_object", {"Key": "incoming/9/stations.csv"}),
        ("delete_object", {"Key": "processed/9/status.json"}),
        ("delete_objects", {"Delete": {"Objects": [{"Key": "processed/9/status.json"}]}}),
        ("get_object", {"Key": "elsewhere/9"}),
        ("get_object", {"Key": "quota/2026-11-22/a/9"}),
        ("put_object_acl", {"Key": "processed/9/status.json", "ACL": "public-read"}),
        ("put_bucket_policy", {"Policy": "{}"}),
        ("delete_bucket", {}),
    ],
)
def test_the_daemon_is_denied_other_actions(owned, daemons, operation, arguments):
    before = keys(owned)

    assert refused(getattr(daemons, operation), **arguments)
    assert keys(owned) == before


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("put_object", {"Key": "processed/9/status.json", "Body": b"{}"}),
        ("put_object", {"Key": "leases/9.json", "Body": b"{}"}),
        ("put_object", {"Key": "incoming/9/a/params.csv", "Body": b""}),
        ("get_object", {"Key": "leases/9.json"}),
        ("delete_object", {"Key": "incoming/9/stations.csv"}),
        ("delete_object", {"Key": "quota/2026-11-22/a/9"}),
    ],
)
def test_the_submit_function_is_denied_other_actions(owned, submits, operation, arguments):
    before = keys(owned)

    assert refused(getattr(submits, operation), **arguments)
    assert keys(owned) == before


@pytest.mark.parametrize("access", ["website", "cloudfront"])
def test_the_public_reads_results_of_a_website_by_their_key_and_nothing_else(owned, rights, access):
    rights.apply_bucket_policy(SiteAccess=access)
    stranger = rights.as_stranger()

    is_private = refused(stranger.get_object, Key="processed/9/status.json")
    assert is_private == (access == "cloudfront")
    assert refused(stranger.get_object, Key="incoming/9/stations.csv")
    assert refused(stranger.get_object, Key="leases/9.json")
    assert refused(stranger.list_objects_v2)
    assert refused(stranger.list_objects_v2, Prefix="processed/9/")
    assert refused(stranger.put_object, Key="processed/9/x", Body=b"")
    assert refused(stranger.put_object, Key="incoming/9/x", Body=b"")
    assert refused(stranger.delete_object, Key="processed/9/status.json")


def test_odd_keys_are_denied_even_to_the_owner(owned, rights):
    assert refused(rights.owner.put_object, Key="incoming/9/a/params.csv", Body=b"")
    assert not refused(rights.owner.put_object, Key="incoming/9/cancel", Body=b"")
