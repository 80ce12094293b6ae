"""scripts/release and scripts/deploy, against an account in memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts/aws"))
import release
from deploy import STEPS, Deployment, main

from xcor_daemon import __version__
from xcor_daemon.config import Config
from xcor_daemon.errors import ConfigError
from xcor_daemon.web.page import Page, Services

ROOT = Path(__file__).parents[2]
# The account in memory knows neither CloudFront nor APIs as parts of a stack, and forgets what
# parameter of Systems Manager the machine's image came from.
GIVEN = {
    "AlarmEmail": "you@example.org",
    "SiteAccess": "website",
    "ImageId": "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64",
}
MANIFEST = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 1,
               "digest": f"sha256:{'0' * 64}"},
    "layers": [],
}  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore")  # of moto's, for parts that it leaves out


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    """The files of scripts/release."""
    folder = tmp_path_factory.mktemp("dist")
    release.build(folder)
    return folder


class Account:
    """An account, and the docker commands that were run for it."""

    def __init__(self, dist: Path) -> None:
        self.session = boto3.session.Session(region_name="us-west-2")
        self.dist, self.commands = dist, []
        self.clients: dict[str, Any] = {}  # each costs half a second

    def deployment(self, dry_run: bool = False, **given: str) -> Deployment:
        options = (dry_run, self.docker, self.clients)
        return Deployment(self.session, "xcor", given, None, self.dist, *options)

    def client(self, service: str) -> Any:
        return self.deployment()._client(service)

    def do(self, step: str, **options: Any) -> list[str]:
        return list(STEPS[step](self.deployment(**options)))

    def docker(self, *words: str, input: str | None = None) -> None:
        """A push that arrives."""
        self.commands.append(words)
        if words[0] == "push":
            name, _, tag = words[1].rpartition("/")[2].partition(":")
            self.client("ecr").put_image(
                repositoryName=name, imageTag=tag, imageManifest=json.dumps(MANIFEST)
            )

    def objects(self, bucket: str) -> dict[str, str]:
        client = self.client("s3")
        found = client.list_objects_v2(Bucket=bucket).get("Contents", ())
        return {o["Key"]: client.head_object(Bucket=bucket, Key=o["Key"])["ContentType"]
                for o in found}  # fmt: skip

    def outputs(self, stack: str) -> dict[str, str]:
        (found,) = self.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}

    def parameters(self, stack: str) -> dict[str, str]:
        (found,) = self.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        return {each["ParameterKey"]: each["ParameterValue"] for each in found["Parameters"]}


@pytest.fixture
def account(dist: Path) -> Iterator[Account]:
    with mock_aws():
        yield Account(dist)


@pytest.fixture(scope="class")
def service(dist: Path) -> Iterator[Account]:
    """An account in which every step was done once."""
    with mock_aws():
        account = Account(dist)
        for step in STEPS:
            account.do(step, **(GIVEN if step == "stack" else {}))
        yield account


def test_a_dry_run_on_an_empty_account_lists_all_steps_and_changes_nothing(account):
    lines = [line for step in STEPS for line in account.do(step, dry_run=True, **GIVEN)]

    assert "+ stack xcor-releases" in lines
    assert "+ stack xcor" in lines
    assert f"  Version: (none) -> {__version__}" in lines
    assert f"+ image <Images of xcor-releases>:{__version__}" in lines
    assert "+ s3://<SiteBucket of xcor>/index.html" in lines
    assert not [line for line in lines if line.startswith(("=", "*"))]
    assert account.client("s3").list_buckets()["Buckets"] == []
    assert account.client("cloudformation").list_stacks()["StackSummaries"] == []
    assert account.commands == []


def test_a_parameter_that_is_missing_or_misspelt_is_named(account):
    for step in ("account", "release", "image"):
        account.do(step)

    with pytest.raises(ConfigError, match=r"needs AlarmEmail; give --parameter AlarmEmail=\.\.\."):
        account.do("stack")
    with pytest.raises(ConfigError, match="no parameter AlarmMail; known: AlarmEmail"):
        account.do("stack", AlarmMail="x")


@pytest.mark.parametrize(
    ("step", "words"),
    [("release", "run the step `account` first"), ("site", "run the step `stack` first")],
)
def test_a_step_without_its_predecessor_names_it(account, step, words):
    with pytest.raises(ConfigError, match=words):
        account.do(step)


def test_the_stack_waits_for_its_image(account):
    account.do("account")
    account.do("release")

    with pytest.raises(ConfigError, match="run the step `image` first"):
        account.do("stack", **GIVEN)


def test_a_release_is_never_replaced(account, tmp_path):
    account.do("account")
    account.do("release")
    for path in account.dist.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes() + b"\0")
    account.dist = tmp_path

    with pytest.raises(ConfigError, match="is released already, with another content"):
        account.do("release")


def test_the_command_reports_errors_without_a_traceback(tmp_path):
    from click.testing import CliRunner

    with mock_aws():
        told = CliRunner().invoke(main, ["site", "--region", "us-west-2"])
        misspelt = CliRunner().invoke(main, ["--stack", "Xcor", "--dry-run"])
        nowhere = CliRunner().invoke(main, ["account"])

    assert told.exit_code == 1
    assert "Error: the stack xcor does not exist" in told.output
    assert misspelt.exit_code == 2
    assert "small letters" in misspelt.output
    assert "no AWS region is set" in nowhere.output


class TestAServiceThatWasBroughtUp:
    """One for all of them: it takes a while."""

    def test_the_steps_deploy_a_service_and_are_idempotent(self, service):
        again = [line for step in STEPS for line in service.do(step)]

        assert [line for line in again if line.startswith(("+", "*", " "))] == []
        made = service.outputs("xcor")
        releases = service.outputs("xcor-releases")["Releases"]
        names = {key.rpartition("/")[0] for key in service.objects(releases)}
        assert names == {"releases", "submit"}
        page = service.objects(made["SiteBucket"])
        assert page["index.html"] == "text/html; charset=utf-8"
        assert page["js/main.js"].startswith("text/javascript")
        assert set(page) == set(Page(Services("", "", [])).names)
        assert again[-1] == f"the page: {made['Page']}"

    def test_the_page_has_the_addresses_of_its_services(self, service):
        made = service.outputs("xcor")
        body = service.client("s3").get_object(Bucket=made["SiteBucket"], Key="config.json")

        config = json.loads(body["Body"].read())
        assert config["submit"] == made["SubmitUrl"]
        assert config["results"] == made["Results"]
        known = service.parameters("xcor")
        asked = {centre["url"] for centre in config["datacenters"]}
        assert asked == set(known["ConnectTo"].split())
        # Every data centre of the page is a source of the workers, under the same name.
        sources = Config.from_env({"XCOR_SOURCES": known["Sources"]}).sources
        assert {centre["name"] for centre in config["datacenters"]} == set(sources)
        assert sources["SCEDC"] == "s3:SCEDC"
        assert sources["GFZ"] == "fdsn:https://geofon.gfz.de"

    def test_the_image_is_built_pushed_once_and_named_by_its_digest(self, service):
        service.do("image")

        assert [words[0] for words in service.commands] == ["build", "login", "push"]
        (build, *_) = service.commands
        assert f"VERSION={__version__}" in build
        image = service.parameters("xcor")["Image"]
        assert "@sha256:" in image
        assert not image.endswith("0" * 64)

    def test_a_parameter_keeps_its_value_until_another_is_given(self, service):
        assert service.do("stack", MonthlyBudget="99") == [
            "* stack xcor", "  MonthlyBudget: 150 -> 99", "= stack xcor is ready"
        ]  # fmt: skip
        assert service.do("stack", dry_run=True, MonthlyBudget="50") == [
            "* stack xcor", "  MonthlyBudget: 99 -> 50"
        ]  # fmt: skip
        assert service.do("stack") == ["= stack xcor"]


# --- the release ---


def test_the_same_sources_yield_the_same_bytes(dist, tmp_path):
    release.build(tmp_path)

    for path in dist.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_function_imports_only_modules_of_its_runtime(dist, tmp_path):
    with zipfile.ZipFile(dist / "submit.zip") as archive:
        archive.extractall(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import xcor_daemon.web.aws_lambda as g; print(g.__file__)\n"
        "print(*{n.partition('.')[0] for n in sys.modules if not n.startswith('_')})"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True,
                          text=True)  # fmt: skip
    where, loaded = done.stdout.splitlines()

    # boto3 and its dependencies are part of the runtime.
    runtime = {"boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3"}
    assert where.startswith(str(tmp_path))
    theirs = {name for name in loaded.split() if name not in sys.stdlib_module_names}
    theirs = {name for name in theirs if not name.startswith("_")}
    assert theirs <= runtime | {"xcor_daemon", *site_hooks()}


def site_hooks() -> set[str]:
    """Modules that Python loads here at every start."""
    code = "import sys; print(*{n.partition('.')[0] for n in sys.modules})"
    return set(subprocess.check_output([sys.executable, "-I", "-c", code], text=True).split())


def test_the_bundle_has_all_files_of_a_machine_with_their_permissions(dist):
    with tarfile.open(dist / f"xcor-daemon-{__version__}.tar.gz") as tar:
        modes = {member.name: member.mode for member in tar}
        lock = tar.extractfile("requirements.txt").read().decode()

    assert modes["install"] == modes["systemd/install"] == modes["scripts/xcor-cron"] == 0o755
    assert modes["scripts/aws/forward-logs"] == 0o755
    assert {"systemd/xcor-daemon.service", "systemd/xcor-.service.d/10-common.conf",
            f"xcor_daemon-{__version__}-py3-none-any.whl"} <= modes.keys()  # fmt: skip
    for name in ("boto3", "botocore", "click", "docker"):
        assert f"\n{name}==" in lock
    assert "--hash=sha256:" in lock
