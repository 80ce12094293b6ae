"""Client of one S3 bucket; errors of boto3 become ours, each with its remedy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from botocore import exceptions as boto

from ..config import Config
from ..errors import ConfigError, CredentialsError, UnreachableError

MISSING = ("NoSuchKey", "404")
_NO_CREDENTIALS = (boto.PartialCredentialsError, boto.ProfileNotFound)


def connect(config: Config) -> Any:
    """The boto3 client for the S3 server of a configuration; sends no request."""
    import boto3
    from botocore.config import Config as ClientConfig

    endpoint = config.endpoint_url or None
    options = ClientConfig(
        # Few: every pass of the daemon is another attempt, and one job must not delay others.
        retries={"mode": "standard", "total_max_attempts": 3},
        connect_timeout=min(5.0, config.s3_timeout),
        read_timeout=config.s3_timeout,
        tcp_keepalive=True,
        s3={"addressing_style": "path" if endpoint else "auto"},
    )
    try:
        # Not the default session, which keeps the first credentials that it finds.
        session = boto3.session.Session()
        return session.client("s3", endpoint_url=endpoint, config=options)
    except (ValueError, boto.BotoCoreError) as error:
        raise ConfigError(
            f"cannot create the S3 client: {error}; check XCOR_ENDPOINT_URL."
        ) from error


@dataclass
class S3:
    """One bucket, with a count of its errors."""

    client: Any  # boto3's S3 client
    name: str
    errors: Counter[str] = field(default_factory=Counter)  # error code -> count

    @property
    def endpoint(self) -> str:
        """URL of the S3 server."""
        return str(self.client.meta.endpoint_url)

    def call(self, operation: str, absent: tuple[str, ...] = (), **arguments: Any) -> Any:
        """Run an S3 operation; None where S3 responds with a code in ``absent``."""
        try:
            with self.translate_errors(operation, absent):
                return getattr(self.client, operation)(Bucket=self.name, **arguments)
        except _Absent:
            return None

    def read(self, key: str, absent: tuple[str, ...] = MISSING, **options: Any) -> bytes | None:
        """The content of an object; None where S3 responds with a code in ``absent``."""
        reply = self.call("get_object", absent, Key=key, **options)
        if reply is None:
            return None
        with self.translate_errors("get_object"), closing(reply["Body"]) as body:
            return bytes(body.read())

    @contextmanager
    def translate_errors(self, operation: str, absent: tuple[str, ...] = ()) -> Iterator[None]:
        """Translate the errors of boto3 into ours, which name the remedy."""
        try:
            yield
        except boto.ClientError as error:
            code = error.response["Error"]["Code"]
            if code in absent:
                raise _Absent from None
            self.errors[code] += 1
            raise self._error_for(code, operation, error) from error
        except boto.NoCredentialsError as error:
            # A client looks for credentials once, so only a restart can find them.
            raise CredentialsError(self._no_credentials(error)) from error
        except _NO_CREDENTIALS as error:
            raise ConfigError(self._no_credentials(error)) from error
        except boto.CredentialRetrievalError as error:
            self.errors[type(error).__name__] += 1
            text = f"credentials for S3 at {self.endpoint} could not be renewed: {error}"
            raise UnreachableError(text) from error
        except boto.ParamValidationError as error:
            raise ConfigError(f"S3 bucket {self.name!r}: {error}") from error
        except boto.BotoCoreError as error:
            self.errors[type(error).__name__] += 1
            raise UnreachableError(f"no response from S3 at {self.endpoint}: {error}") from error

    def _no_credentials(self, error: Exception) -> str:
        remedy = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or attach a role to the machine"
        return f"no credentials for S3 at {self.endpoint}: {error}; {remedy}."

    def _error_for(self, code: str, operation: str, error: Exception) -> Exception:
        if code == "NoSuchBucket":
            where = f"S3 bucket {self.name!r} does not exist at {self.endpoint}"
            return ConfigError(f"{where}; set XCOR_BUCKET.")
        if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch"):
            cause = f"S3 at {self.endpoint} does not accept the access key ({code})"
            remedy = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a valid key"
            return ConfigError(f"{cause}; {remedy}.")
        if code in ("AccessDenied", "403"):
            cause = f"S3 denies {operation} on bucket {self.name!r}"
            remedy = "grant the key or role the permissions of 'Rights on S3' in docs/operations.md"
            return ConfigError(f"{cause}; {remedy}.")
        if code in ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"):
            return UnreachableError(f"credentials for S3 at {self.endpoint} have expired ({code}).")
        if code == "RequestTimeTooSkewed":
            # Not a ConfigError: NTP may correct the clock soon after the machine was booted.
            cause = "the clock of this machine differs from that of S3 by more than 15 minutes"
            return UnreachableError(f"{cause}; enable NTP.")
        return UnreachableError(f"S3 at {self.endpoint} failed {operation}: {error}")


class _Absent(Exception):
    """S3 responded that the object is absent or has changed."""
