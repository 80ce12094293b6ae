"""S3 as one bucket of it: how it is reached, and what it refuses in words that say what to do."""

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
    """boto3's client for the S3 server of a configuration; nothing is asked of it yet."""
    import boto3
    from botocore.config import Config as ClientConfig

    endpoint = config.endpoint_url or None
    options = ClientConfig(
        # Few: every pass of the daemon is one more try, and one job must not hold up others.
        retries={"mode": "standard", "total_max_attempts": 3},
        connect_timeout=min(5.0, config.s3_timeout),
        read_timeout=config.s3_timeout,
        tcp_keepalive=True,
        s3={"addressing_style": "path" if endpoint else "auto"},
    )
    try:
        # A session of its own: the default one keeps the first credentials that it finds.
        session = boto3.session.Session()
        return session.client("s3", endpoint_url=endpoint, config=options)
    except (ValueError, boto.BotoCoreError) as error:
        raise ConfigError(f"no S3 client: {error}; see XCOR_ENDPOINT_URL.") from error


@dataclass
class S3:
    """One bucket, and what went wrong with it so far."""

    client: Any  # boto3's S3 client
    name: str
    errors: Counter[str] = field(default_factory=Counter)  # code -> how often S3 gave it

    @property
    def endpoint(self) -> str:
        """Where the S3 server is."""
        return str(self.client.meta.endpoint_url)

    def call(self, operation: str, absent: tuple[str, ...] = (), **arguments: Any) -> Any:
        """One S3 operation; None where S3 answers with a code of ``absent``."""
        try:
            with self.translate_errors(operation, absent):
                return getattr(self.client, operation)(Bucket=self.name, **arguments)
        except _Absent:
            return None

    def read(self, key: str, absent: tuple[str, ...] = MISSING, **options: Any) -> bytes | None:
        """The content of an object; None where S3 answers with a code of ``absent``."""
        reply = self.call("get_object", absent, Key=key, **options)
        if reply is None:
            return None
        with self.translate_errors("get_object"), closing(reply["Body"]) as body:
            return bytes(body.read())

    @contextmanager
    def translate_errors(self, operation: str, absent: tuple[str, ...] = ()) -> Iterator[None]:
        """Turn boto's errors into ours, which say what to do."""
        try:
            yield
        except boto.ClientError as error:
            code = error.response["Error"]["Code"]
            if code in absent:
                raise _Absent from None
            self.errors[code] += 1
            raise self._error_for(code, operation, error) from error
        except boto.NoCredentialsError as error:
            # A client looks for them once: what follows is another start.
            raise CredentialsError(self._no_credentials(error)) from error
        except _NO_CREDENTIALS as error:
            raise ConfigError(self._no_credentials(error)) from error
        except boto.CredentialRetrievalError as error:
            self.errors[type(error).__name__] += 1
            text = f"credentials for S3 at {self.endpoint} cannot be renewed now: {error}"
            raise UnreachableError(text) from error
        except boto.ParamValidationError as error:
            raise ConfigError(f"S3 bucket {self.name!r}: {error}") from error
        except boto.BotoCoreError as error:
            self.errors[type(error).__name__] += 1
            raise UnreachableError(f"S3 at {self.endpoint} does not answer: {error}") from error

    def _no_credentials(self, error: Exception) -> str:
        need = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role"
        return f"no credentials for S3 at {self.endpoint}: {error}; {need}."

    def _error_for(self, code: str, operation: str, error: Exception) -> Exception:
        if code == "NoSuchBucket":
            where = f"S3 bucket {self.name!r} does not exist at {self.endpoint}"
            return ConfigError(f"{where}; set XCOR_BUCKET.")
        if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch"):
            need = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to keys that it knows."
            return ConfigError(f"S3 at {self.endpoint} does not know these keys ({code}); {need}")
        if code in ("AccessDenied", "403"):
            need = (
                "give the keys or the role the rights under 'Rights on S3' in docs/operations.md."
            )
            return ConfigError(f"S3 bucket {self.name!r} refuses {operation} to these keys; {need}")
        if code in ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"):
            return UnreachableError(f"credentials for S3 at {self.endpoint} have expired ({code}).")
        if code == "RequestTimeTooSkewed":
            need = "set it right"  # it may come right by itself, once the machine has found NTP
            return UnreachableError(f"this machine's clock is off by more than 15 minutes; {need}.")
        return UnreachableError(f"S3 at {self.endpoint} cannot do {operation} now: {error}")


class _Absent(Exception):
    """S3 answered that it is not there, or not as it was."""
