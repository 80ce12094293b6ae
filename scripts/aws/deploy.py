#!/usr/bin/env python3
"""Bring a release to AWS, step by step; each step may be called alone and again.

\b
    account   the bucket of releases and the repository of images (releases.yaml)
    release   the bundle for the machine and the code of the submit function
    image     the worker's image, built here
    stack     everything else (xcor.yaml); a new version replaces the machine
    site      the page

Without steps all are done, in this order. With --dry-run nothing is written: every step says what
it would do, = for what is as it should be, + for what is new, * for what changes.
"""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import click
from botocore.exceptions import BotoCoreError, ClientError
from stacks import Stacks

from xcor_daemon import __version__
from xcor_daemon.errors import ConfigError, UnreachableError, XcorError
from xcor_daemon.web.page import Page, origins, read_services

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
_OPEN_DATA = ("SCEDC", "NCEDC")  # archives that lie on S3 as well, for everybody
_MISSING = ("404", "NoSuchKey", "NoSuchBucket", "ImageNotFoundException",
            "RepositoryNotFoundException")  # fmt: skip


@dataclass
class Deployment:
    """One service in one account and region.

    Parameters
    ----------
    session : boto3.Session
        Whose account and region.
    stack : str
        Name of the service's stack; that of releases is ``NAME-releases``.
    given : mapping
        Parameters of xcor.yaml that the operator sets; others stay as they are.
    services : Path, optional
        Data centres and base maps of the page; those of xcor_daemon/web/services.json if not given.
    dist : Path
        What `release.build` has made.
    dry_run : bool
        Only report the changes.
    run : callable
        Runs a command of docker.
    """

    session: Any
    stack: str
    given: Mapping[str, str]
    services: Path | None
    dist: Path
    dry_run: bool = False
    run: Callable[..., None] = field(default=lambda *words, **more: _run(*words, **more))
    _clients: dict[str, Any] = field(default_factory=dict)

    # --- steps ---

    def account(self) -> Iterator[str]:
        """The stack of releases."""
        return self._bring(self._releases_stack, "releases.yaml", {})

    def release(self) -> Iterator[str]:
        """The bundle and the function's code, under names that never change their content."""
        bucket = self._output(self._releases_stack, "Releases")
        bundle, code = self._bundle.read_bytes(), self._code.read_bytes()
        key = f"releases/{self._bundle.name}"
        there = self._digest_of(bucket, key)
        if there not in (None, _sha256(bundle)):
            need = "raise __version__ in xcor_daemon/__init__.py"
            raise ConfigError(f"{key} is released already, with another content; {need}.")
        yield self._put(bucket, key, bundle)
        yield self._put(bucket, self._code_key, code)

    def image(self) -> Iterator[str]:
        """The worker's image."""
        repository = self._output(self._releases_stack, "Images")
        name = f"{repository}:{__version__}"
        if self._digest(repository):
            yield f"= image {name}"
            return
        yield f"+ image {name}"
        if self.dry_run:
            return
        registry = repository.partition("/")[0]
        token = self._client("ecr").get_authorization_token()["authorizationData"][0]
        user, _, password = base64.b64decode(token["authorizationToken"]).decode().partition(":")
        login = ["login", "--username", user, "--password-stdin", registry]
        build = ["build", "--file", "docker/Dockerfile", "--build-arg", f"VERSION={__version__}"]
        self.run(*build, "--platform", "linux/amd64", "--tag", name, str(ROOT))
        self.run(*login, input=password)
        self.run("push", name)
        if not self._digest(repository):
            raise UnreachableError(f"{name} was pushed, but the repository does not have it.")

    def stack_(self) -> Iterator[str]:
        """The service itself."""
        repository = self._output(self._releases_stack, "Images")
        digest = self._digest(repository)
        if digest is None and not self.dry_run:
            raise ConfigError(
                f"the image {__version__} does not exist; run the step `image` first."
            )
        services = read_services("", "", self.services)
        parameters = {
            "Version": __version__,
            "Releases": self._output(self._releases_stack, "Releases"),
            "ImagesArn": self._output(self._releases_stack, "ImagesArn"),
            "Image": f"{repository}@{digest or 'sha256:' + '0' * 64}",
            "SubmitCode": self._code_key,
            "ConnectTo": " ".join(origins(c["url"] for c in services.datacenters)),
            "ImagesFrom": " ".join(origins(m["url"] for m in services.basemaps)),
            "Sources": ";".join(_source(centre) for centre in services.datacenters),
            **self.given,
        }
        return self._bring(self.stack, "xcor.yaml", parameters)

    def site(self) -> Iterator[str]:
        """The page, told where its services are."""
        bucket = self._output(self.stack, "SiteBucket")
        results = self._output(self.stack, "Results")
        services = read_services(results, self._output(self.stack, "SubmitUrl"), self.services)
        page = Page(services)
        lines = []
        # index.html last: until then the old page is whole.
        for name in sorted(page.names, key=lambda name: (name == "index.html", name)):
            content = page.read(name)
            assert content is not None
            kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
            lines.append(self._put(bucket, name, content, ContentType=_with_charset(kind),
                                   CacheControl="no-cache"))  # fmt: skip
            yield lines[-1]
        distribution = self._stacks.outputs(self.stack).get("Distribution")
        changed = sum(not line.startswith("=") for line in lines)
        if distribution and changed:
            yield f"* distribution {distribution} forgets the page"
            if not self.dry_run:
                self._client("cloudfront").create_invalidation(
                    DistributionId=distribution,
                    InvalidationBatch={
                        "Paths": {"Quantity": 1, "Items": ["/*"]},
                        "CallerReference": f"{time.time():.0f}",
                    },
                )
        if not self.dry_run:
            yield f"the page: {self._output(self.stack, 'Page')}"

    # --- stacks ---

    @property
    def _releases_stack(self) -> str:
        return f"{self.stack}-releases"

    @property
    def _stacks(self) -> Stacks:
        return Stacks(self._client("cloudformation"))

    def _bring(self, name: str, file: str, given: Mapping[str, str]) -> Iterator[str]:
        return self._stacks.bring(name, (FOLDER / file).read_text(), given, self.dry_run)

    def _output(self, name: str, key: str) -> str:
        outputs = self._stacks.outputs(name)
        if key not in outputs:
            if self.dry_run:
                return f"<{key} of {name}>"
            step = "account" if name == self._releases_stack else "stack"
            raise ConfigError(f"the stack {name} does not exist; run the step `{step}` first.")
        return outputs[key]

    # --- files ---

    def _put(self, bucket: str, key: str, content: bytes, **described: str) -> str:
        """Write a file where it is not there already; gives the line that says so."""
        there, digest = self._digest_of(bucket, key), _sha256(content)
        sign = "+" if there is None else "=" if there == digest else "*"
        if sign != "=" and not self.dry_run:
            self._client("s3").put_object(
                Bucket=bucket, Key=key, Body=content, Metadata={"sha256": digest}, **described
            )
        return f"{sign} s3://{bucket}/{key}"

    def _digest_of(self, bucket: str, key: str) -> str | None:
        """The sha256 with which a file was put; None where it is not there."""
        if bucket.startswith("<"):  # of a stack that is not there yet
            return None
        try:
            found = self._client("s3").head_object(Bucket=bucket, Key=key)
            return str(found["Metadata"].get("sha256", ""))
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return None
            raise

    def _digest(self, repository: str) -> str | None:
        """The digest of this version's image; None where it was not pushed."""
        if repository.startswith("<"):
            return None
        name = repository.partition("/")[2]
        try:
            found = self._client("ecr").describe_images(
                repositoryName=name, imageIds=[{"imageTag": __version__}]
            )["imageDetails"]
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return None
            raise
        return str(found[0]["imageDigest"])

    @property
    def _bundle(self) -> Path:
        return self._made(f"xcor-daemon-{__version__}.tar.gz")

    @property
    def _code(self) -> Path:
        return self._made("submit.zip")

    @property
    def _code_key(self) -> str:
        return f"submit/{_sha256(self._code.read_bytes())[:16]}.zip"

    def _made(self, name: str) -> Path:
        if not (self.dist / name).is_file():
            raise ConfigError(f"{self.dist / name} is not there; run scripts/release first.")
        return self.dist / name

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self.session.client(service)
        return self._clients[service]


STEPS: dict[str, Callable[[Deployment], Iterable[str]]] = {
    "account": Deployment.account,
    "release": Deployment.release,
    "image": Deployment.image,
    "stack": Deployment.stack_,
    "site": Deployment.site,
}


def _run(*words: str, input: str | None = None) -> None:
    done = subprocess.run(["docker", *words], cwd=ROOT, input=input, text=True, check=False)
    if done.returncode:
        raise XcorError(f"docker {words[0]} ended with {done.returncode}.")


def _source(centre: Mapping[str, Any]) -> str:
    """What the workers ask where the page asks a data centre."""
    name = centre["name"]
    place = f"s3:{name}" if name in _OPEN_DATA else f"fdsn:{centre['url']}"
    return f"{name}={place}"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _with_charset(kind: str) -> str:
    is_text = kind.startswith("text/") or kind in ("application/json", "image/svg+xml")
    return f"{kind}; charset=utf-8" if is_text else kind


def _parameter(_context: object, _option: object, values: tuple[str, ...]) -> dict[str, str]:
    for value in values:
        if "=" not in value:
            raise click.BadParameter(f"{value!r}; write NAME=VALUE")
    return dict(value.split("=", 1) for value in values)


def _stack_name(_context: object, _option: object, value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,40}", value):  # the repository has it as its name
        raise click.BadParameter(f"{value!r}; write small letters, digits and dashes")
    return value


@click.command(help=__doc__)
@click.argument("steps", nargs=-1, type=click.Choice(list(STEPS)))
@click.option("--dry-run", is_flag=True, help="Only report the changes; change nothing.")
@click.option("--stack", default="xcor", show_default=True, callback=_stack_name,
              help="Name of the service's stack.")  # fmt: skip
@click.option(
    "--region", help="AWS region, such as us-west-2 (default: that of your AWS settings)."
)
@click.option(
    "--parameter", "given", multiple=True, callback=_parameter, metavar="NAME=VALUE",
    help="Parameter of xcor.yaml, such as AlarmEmail=you@example.org; kept by later deployments.",
)  # fmt: skip
@click.option(
    "--services", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON file with data centres and base maps, as xcor_daemon/web/services.json.",
)  # fmt: skip
def main(steps: tuple[str, ...], region: str | None, **options: Any) -> None:
    session = boto3.session.Session(region_name=region)
    deployment = Deployment(session, dist=ROOT / "dist", **options)
    try:
        if session.region_name is None:
            raise ConfigError("no AWS region is set; pass --region, such as us-west-2.")
        for step in steps or STEPS:
            click.echo(f"{step}:")
            for line in STEPS[step](deployment):
                click.echo(f"  {line}")
    except XcorError as error:
        raise click.ClickException(str(error)) from error
    except (ClientError, BotoCoreError) as error:
        raise click.ClickException(f"AWS: {error}") from error


if __name__ == "__main__":
    main()
