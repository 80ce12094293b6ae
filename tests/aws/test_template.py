"""The templates, and the findings of their linters."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError
from template import FOLDER, Template, statements

from xcor_daemon.config import Config
from xcor_daemon.errors import ConfigError
from xcor_daemon.storage.s3_client import S3
from xcor_daemon.web import aws_lambda
from xcor_daemon.web.page import Services

ROOT = Path(__file__).parents[2]
JOBS = "arn:aws:s3:::jobs"
ACCESS = pytest.mark.parametrize("access", ["cloudfront", "website"])


def template(**parameters: str) -> Template:
    made = Template("xcor.yaml", **parameters)
    made.drawn = {f"{name}Bucket.Arn": f"arn:aws:s3:::{name.lower()}" for name in
                  ("Jobs", "Site", "Logs")}  # fmt: skip
    return made


def granted(role: str, policy: str) -> set[tuple[str, str]]:
    """Every action and resource that a policy of a role allows."""
    (found,) = [p for p in template()[role]["Policies"] if p["PolicyName"] == policy]
    return {
        (action, resource)
        for statement in statements(found["PolicyDocument"])
        for action in statement["Action"]
        for resource in statement["Resource"]
        if statement["Effect"] == "Allow"
    }


def test_the_linters_find_nothing():
    command = [ROOT / "scripts/lint-aws", "--python", sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Passed checks: [1-9]\d*, Failed checks: 0", done.stdout)


@pytest.mark.parametrize("name", ["xcor.yaml", "releases.yaml"])
def test_every_skipped_rule_of_the_linter_has_a_reason(name):
    for resource in Template(name).raw["Resources"].values():
        for skipped in resource.get("Metadata", {}).get("checkov", {}).get("skip", ()):
            assert len(skipped["comment"].split()) > 5


# --- rights ---


def test_the_machine_has_the_rights_that_the_daemon_uses_and_no_more():
    assert granted("MachineRole", "daemon") == {
        ("s3:ListBucket", JOBS),
        ("s3:GetObject", f"{JOBS}/incoming/*"),
        ("s3:GetObject", f"{JOBS}/processed/*"),
        ("s3:GetObject", f"{JOBS}/leases/*"),
        ("s3:PutObject", f"{JOBS}/processed/*"),
        ("s3:PutObject", f"{JOBS}/leases/*"),
        ("s3:AbortMultipartUpload", f"{JOBS}/processed/*"),
        ("s3:DeleteObject", f"{JOBS}/leases/*"),
    }


def test_the_submit_function_writes_requests_and_counts_them():
    assert {(a, r) for a, r in granted("SubmitRole", "submit") if a.startswith("s3:")} == {
        ("s3:ListBucket", JOBS),
        ("s3:GetObject", f"{JOBS}/incoming/*"),
        ("s3:GetObject", f"{JOBS}/processed/*/status.json"),
        ("s3:PutObject", f"{JOBS}/incoming/*"),
        ("s3:PutObject", f"{JOBS}/quota/*"),
    }


def test_the_docs_list_the_rights_and_s3s_refusal_points_to_them():
    text = (ROOT / "docs/operations.md").read_text()
    title = re.search(r"the permissions of '([^']+)' in docs/operations\.md", refusal())[1]
    section = text[text.index(f"**{title}.**") :]
    listed: dict[str, set[tuple[str, str]]] = {"daemon": set(), "submit": set()}
    for action, *places in re.findall(r"^\| `(s3:\w+)` \|(.*)\|(.*)\|$", section, re.MULTILINE):
        for role, cell in zip(listed, places, strict=True):
            keys = re.findall(r"`([^`]+)`", cell) or [""] * bool(cell.strip())
            listed[role] |= {(action, f"{JOBS}/{key}".removesuffix("/")) for key in keys}

    assert listed["daemon"] == granted("MachineRole", "daemon")
    assert listed["submit"] == {
        g for g in granted("SubmitRole", "submit") if g[0].startswith("s3:")
    }


def refusal() -> str:
    """The error for a right that S3 denies."""
    error = ClientError({"Error": {"Code": "AccessDenied"}}, "PutObject")
    with (
        pytest.raises(ConfigError) as caught,
        S3(boto3.client("s3", "us-west-2"), "jobs").translate_errors("put_object"),
    ):
        raise error
    return str(caught.value)


def test_no_role_has_all_actions_of_a_service():
    for role in ("MachineRole", "SubmitRole"):
        for policy in template()[role]["Policies"]:
            for statement in statements(policy["PolicyDocument"]):
                assert not any("*" in action for action in statement["Action"])
                if "*" in statement["Resource"]:
                    assert statement["Sid"] in ("Login", "Session")
    assert "ManagedPolicyArns" not in (FOLDER / "xcor.yaml").read_text()


# --- buckets ---


@pytest.mark.parametrize("name", ["xcor.yaml", "releases.yaml"])
def test_every_bucket_is_private_owned_encrypted_versioned_and_requires_tls(name):
    made = Template(name)
    buckets = made.resources("AWS::S3::Bucket")
    closed = {"BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"}
    for bucket in buckets.values():
        assert bucket["PublicAccessBlockConfiguration"] == dict.fromkeys(closed, True)
        assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
        assert bucket["BucketEncryption"]
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
        assert any(r.get("AbortIncompleteMultipartUpload") for r in
                   bucket["LifecycleConfiguration"]["Rules"])  # fmt: skip
    policies = made.resources("AWS::S3::BucketPolicy").values()
    assert {policy["Bucket"] for policy in policies} == {f"<{name}>" for name in buckets}
    for policy in policies:
        (tls,) = [s for s in statements(policy["PolicyDocument"]) if s["Sid"] == "OnlyByTls"]
        assert tls["Effect"] == "Deny"
        assert tls["Principal"] == "*"
        assert tls["Action"] == ["s3:*"]
        assert tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


@ACCESS
def test_only_a_website_is_public_and_only_its_page_and_results(access):
    made = template(SiteAccess=access)
    public = [
        (statement["Action"], statement["Resource"])
        for policy in made.resources("AWS::S3::BucketPolicy").values()
        for statement in statements(policy["PolicyDocument"])
        if statement["Effect"] == "Allow" and statement["Principal"] == "*"
    ]

    results, page = f"{JOBS}/processed/*", "arn:aws:s3:::site/*"
    read = [(["s3:GetObject"], [results]), (["s3:GetObject"], [page])]
    assert public == (read if access == "website" else [])
    logs = made["LogsBucket"]["PublicAccessBlockConfiguration"]
    assert all(logs.values())
    for name in ("JobsBucket", "SiteBucket"):
        block = made[name]["PublicAccessBlockConfiguration"]
        assert block["BlockPublicAcls"] is block["IgnorePublicAcls"] is True
        assert block["BlockPublicPolicy"] is (access != "website")


def test_cloudfront_reads_the_page_and_results_and_no_other_distribution_does():
    allowed = [
        (statement["Resource"], statement["Condition"])
        for policy in template().resources("AWS::S3::BucketPolicy").values()
        for statement in statements(policy["PolicyDocument"])
        if statement.get("Principal") == {"Service": "cloudfront.amazonaws.com"}
    ]

    ours = "arn:aws:cloudfront::123456789012:distribution/<Distribution>"
    assert [resource for resource, _ in allowed] == [
        [f"{JOBS}/processed/*"], ["arn:aws:s3:::site/*"]
    ]  # fmt: skip
    assert all(c == {"StringEquals": {"AWS:SourceArn": ours}} for _, c in allowed)


def test_a_page_elsewhere_may_not_read_results():
    rules = template(SiteAccess="website")["JobsBucket"]["CorsConfiguration"]["CorsRules"]

    assert [rule["AllowedOrigins"] for rule in rules] == [["<SiteBucket.WebsiteURL>"]]
    assert [rule["AllowedMethods"] for rule in rules] == [["GET", "HEAD"]]
    assert "CorsConfiguration" not in template(SiteAccess="cloudfront")["JobsBucket"]


def test_requests_and_results_expire():
    rules = template()["JobsBucket"]["LifecycleConfiguration"]["Rules"]
    days = {rule.get("Prefix"): rule.get("ExpirationInDays") for rule in rules}

    assert days == {"incoming/": 30, "processed/": 365, "quota/": 2, None: None}
    assert {rule["Status"] for rule in rules} == {"Enabled"}


def test_requests_cannot_be_overwritten_and_odd_keys_cannot_be_written():
    denied = {
        s["Sid"]: s for s in statements(template()["JobsBucketPolicy"]["PolicyDocument"])
        if s["Effect"] == "Deny"
    }  # fmt: skip

    once = denied["NothingSentIsOverwritten"]
    assert once["Resource"] == [f"{JOBS}/incoming/*"]
    assert once["Condition"] == {"Null": {"s3:if-none-match": "true"}}
    assert denied["NoOddKeys"]["Resource"] == [f"{JOBS}/incoming/*/*/*"]


def test_jobs_and_results_outlive_the_stack():
    for name in ("JobsBucket", "LogsBucket"):
        resource = template().raw["Resources"][name]
        assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain"


# --- the page ---


def test_the_policy_of_the_page_is_the_one_that_the_page_was_made_for():
    centres = [
        {"url": "https://service.earthscope.org/x"},
        {"url": "https://service.scedc.caltech.edu"},
    ]
    maps = [{"url": "https://tiles.example.org/{z}/{x}/{y}.png"}]
    made = template(ConnectTo="https://service.earthscope.org https://service.scedc.caltech.edu",
                    ImagesFrom="https://tiles.example.org")  # fmt: skip
    services = Services("", made.output("SubmitUrl"), centres, maps)

    headers = made["PageHeaders"]["ResponseHeadersPolicyConfig"]["SecurityHeadersConfig"]
    policy = headers["ContentSecurityPolicy"]["ContentSecurityPolicy"]
    want = f"{services.policy}; frame-ancestors 'none'"
    assert parts(policy) == parts(want)
    assert headers["StrictTransportSecurity"]["AccessControlMaxAgeSec"] >= 31536000
    assert headers["FrameOptions"]["FrameOption"] == "DENY"
    assert headers["ContentTypeOptions"]["Override"] is True


def parts(policy: str) -> dict[str, set[str]]:
    """A Content-Security-Policy by directive."""
    words = [directive.split() for directive in policy.split(";")]
    return {name: set(values) for name, *values in words}


def test_cloudfront_signs_and_requires_tls_and_results_are_not_pages():
    made = template()
    config = made["Distribution"]["DistributionConfig"]
    signing = made["OriginAccess"]["OriginAccessControlConfig"]

    assert signing["SigningBehavior"] == "always"
    assert {origin["OriginAccessControlId"] for origin in config["Origins"]} == {"<OriginAccess>"}
    behaviours = [config["DefaultCacheBehavior"], *config["CacheBehaviors"]]
    assert all("http" in b["ViewerProtocolPolicy"] for b in behaviours)
    assert "allow-all" not in {b["ViewerProtocolPolicy"] for b in behaviours}
    assert all(b["AllowedMethods"] == ["GET", "HEAD"] for b in behaviours)
    assert [b["PathPattern"] for b in config["CacheBehaviors"]] == ["/processed/*"]
    results = made["ResultHeaders"]["ResponseHeadersPolicyConfig"]["SecurityHeadersConfig"]
    assert "sandbox" in parts(results["ContentSecurityPolicy"]["ContentSecurityPolicy"])


def test_a_custom_name_requires_tls_1_2_and_is_an_origin_of_the_function():
    made = template(Domain="xcor.example.org", Certificate="arn:aws:acm:us-east-1:1:certificate/x")
    config = made["Distribution"]["DistributionConfig"]

    assert config["Aliases"] == ["xcor.example.org"]
    assert config["ViewerCertificate"]["MinimumProtocolVersion"] == "TLSv1.2_2021"
    origins = made["Submit"]["Environment"]["Variables"]["XCOR_ORIGINS"].split()
    assert origins == ["https://<Distribution.DomainName>", "https://xcor.example.org"]


@ACCESS
def test_a_website_needs_no_distribution_and_cloudfront_no_website(access):
    made = template(SiteAccess=access)

    assert bool(made.resources("AWS::CloudFront::Distribution")) == (access == "cloudfront")
    assert ("WebsiteConfiguration" in made["SiteBucket"]) == (access == "website")


# --- the submit function ---


def test_the_function_is_the_one_of_the_package_and_its_environment_is_enough():
    made = template()
    function = made["Submit"]
    module, _, name = function["Handler"].rpartition(".")
    environ = {k: str(v) for k, v in function["Environment"]["Variables"].items()}

    assert (module, getattr(aws_lambda, name)) == (aws_lambda.__name__, aws_lambda.handler)
    service = aws_lambda.Gateway.from_env({**environ, "XCOR_BUCKET": "jobs"})
    assert (service.quota.of_one, service.quota.of_all) == (20, 200)
    assert service.origins == {"https://<Distribution.DomainName>"}


def test_the_function_is_throttled_and_few_run_at_a_time():
    made = template()
    settings = made["SubmitStage"]["DefaultRouteSettings"]

    assert settings == {"ThrottlingRateLimit": 5, "ThrottlingBurstLimit": 10}
    assert made["Submit"]["ReservedConcurrentExecutions"] == 5
    assert made["Submit"]["Timeout"] < made["SubmitIntegration"]["TimeoutInMillis"] / 1000 < 30


def test_the_function_handles_every_route():
    routes = template().resources("AWS::ApiGatewayV2::Route").values()

    assert {route["RouteKey"] for route in routes} == {
        f"{method} {path}" for method in ("POST", "OPTIONS") for path in
        ("/jobs", "/jobs/{id}/cancel")
    }  # fmt: skip


# --- the machine ---


def test_containers_are_kept_from_the_machines_credentials():
    options = template()["MachineTemplate"]["LaunchTemplateData"]["MetadataOptions"]

    assert options["HttpTokens"] == "required"
    assert options["HttpPutResponseHopLimit"] == 1


def test_no_port_is_open_and_ssh_is_off():
    made = template()
    group = made["Outbound"]

    assert "SecurityGroupIngress" not in group
    assert not made.resources("AWS::EC2::SecurityGroupIngress")
    assert {rule["ToPort"] for rule in group["SecurityGroupEgress"]} == {80, 443}
    assert "KeyName" not in made["MachineTemplate"]["LaunchTemplateData"]
    assert "sshd" not in user_data()


def test_one_machine_with_an_encrypted_disk_is_replaced_when_it_fails():
    made = template()
    group = made["Machine"]
    (disk,) = made["MachineTemplate"]["LaunchTemplateData"]["BlockDeviceMappings"]

    assert (group["MinSize"], group["MaxSize"]) == ("1", "1")
    assert disk["Ebs"]["Encrypted"] is True
    update = made.raw["Resources"]["Machine"]["UpdatePolicy"]["AutoScalingRollingUpdate"]
    assert update["MinInstancesInService"] == 0


def user_data() -> str:
    made = template(Version="1.2.3", Image="1.dkr.ecr.us-west-2.amazonaws.com/x@sha256:0",
                    Releases="releases")  # fmt: skip
    made.drawn |= {"DaemonLogs": "xcor-logs", "JobsBucket": "jobs"}
    return made["MachineTemplate"]["LaunchTemplateData"]["UserData"]


def test_the_user_data_is_a_script():
    done = subprocess.run(["bash", "-n"], input=user_data(), text=True, capture_output=True,
                          check=False)  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert not re.findall(r"\$\{|<[A-Z]", user_data())


def test_the_user_data_installs_the_release_and_sets_settings_of_the_daemon():
    text = user_data()
    (settings,) = re.findall(r"<<'END'\n(.*?)\nEND\n", text, flags=re.DOTALL)
    values = dict(line.split("=", 1) for line in settings.splitlines())

    assert "releases/xcor-daemon-1.2.3.tar.gz" in text
    ours = {name.removeprefix("XCOR_").lower() for name in values if name.startswith("XCOR_")}
    assert ours <= Config.__dataclass_fields__.keys()
    config = Config.from_env(values)
    assert (config.log_format, config.launcher) == ("json", "docker")
    assert config.image.endswith("@sha256:0")
    assert set(config.sources) == {"EARTHSCOPE", "SCEDC", "NCEDC"}
    assert text.index("docker pull") < text.index("enable --now xcor-daemon")
    assert '"live-restore": true' in text


# --- alarms and mails ---


def test_every_alarm_uses_an_existing_metric_and_sends_a_mail():
    emitted = ROOT.joinpath("xcor_daemon/service/daemon.py").read_text()
    for name, alarm in template().resources("AWS::CloudWatch::Alarm").items():
        assert alarm["AlarmActions"] == ["<Alarms>"], name
        stats = [m["MetricStat"]["Metric"] for m in alarm.get("Metrics", ()) if "MetricStat" in m]
        for metric in stats or [alarm]:
            if metric["Namespace"] == "xcor-daemon":
                assert f'"{metric["MetricName"].partition(".")[0]}":' in emitted, name
    assert template()["Alarms"]["Subscription"][0]["Protocol"] == "email"


def test_a_mail_is_sent_before_a_month_exceeds_its_budget():
    made = template(MonthlyBudget=99, AlarmEmail="a@example.org")["Budget"]
    kinds = {n["Notification"]["NotificationType"]: n for n in made["NotificationsWithSubscribers"]}

    assert made["Budget"]["BudgetLimit"] == {"Amount": 99, "Unit": "USD"}
    assert set(kinds) == {"ACTUAL", "FORECASTED"}
    assert {n["Subscribers"][0]["Address"] for n in kinds.values()} == {"a@example.org"}


def test_the_operators_page_explains_every_alarm_and_most_parameters():
    page = (ROOT / "docs/operations.md").read_text()
    made = template()

    alarms = [*made.resources("AWS::CloudWatch::Alarm"), *made.resources("AWS::Budgets::Budget")]
    rows = re.findall(r"^\| `(\w+)` \|", page.partition("## Alarms")[2], re.MULTILINE)
    assert set(alarms) <= set(rows)
    documented = set(re.findall(r"`(\w+)`", page))
    filled_in = {"Version", "Releases", "ImagesArn", "Image", "SubmitCode", "ConnectTo",
                 "ImagesFrom", "Sources", "ImageId", "AlarmEmail"}  # fmt: skip
    assert made.raw["Parameters"].keys() - filled_in <= documented
