"""Object stores and web servers, through obstore: where a URL leads, who we are there, and what to say when it fails.

Credentials come from the environment only (AWS_*, GOOGLE_*, AZURE_*); without any, requests are not signed, as public
buckets want it. A URL that carries a password or a query is refused, and no message repeats what a server or a library
said: only its status and error code.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import urlsplit

from schemas.errors import StoreError

Answer = TypeVar("Answer")

SCHEMES = ("s3", "gs", "az", "http", "https")
_CREDENTIALS = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
           "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_SKIP_SIGNATURE"),
    "gs": ("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "GOOGLE_SERVICE_ACCOUNT_KEY",
           "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SKIP_SIGNATURE"),
    "az": ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_SAS_TOKEN",
           "AZURE_STORAGE_TOKEN", "AZURE_STORAGE_CLIENT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE",
           "AZURE_SKIP_SIGNATURE"),
}  # fmt: skip
_CLIENT = {"connect_timeout": "10s", "timeout": "120s"}
_RETRIES = {
    "max_retries": 6,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2},
}
_TRIES = 3
_INTERRUPTED = ("a broken connection", "no answer in time", "an answer that broke off")
_CONNECTED: dict[str, int] = {}
"""Which process connected first, of this one and those it was forked from."""
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,60})</Code>")


class InterruptedCallError(StoreError):
    """A call got no whole answer; what it asked for may have happened, and asking again may help."""


def is_url(location: object) -> bool:
    """Whether a location is one of a store or web server, not of this machine."""
    return "://" in str(location)


def clean_url(url: str) -> str:
    """The URL without a slash at its end.

    Raises:
        StoreError: if it is of no scheme that is known, names no host or bucket, or carries credentials.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise StoreError(f"location: expected a path or a URL of {known}; found {scheme}://.")
    parts = urlsplit(url)
    if "@" in parts.netloc or "?" in rest or "#" in rest:
        raise StoreError(
            f"{scheme}://…: expected a URL without a user, password, query or fragment, found one that has them. "
            "Credentials are taken from the environment: docs/remote.md."
        )
    if not parts.netloc:
        raise StoreError(
            f"{scheme}://: expected the name of a {'bucket' if 'http' not in scheme else 'host'}, found none."
        )
    return url.rstrip("/")


def connect(url: str) -> Any:
    """The obstore store below a URL; nothing is asked of it yet.

    Raises:
        StoreError: if the URL or the environment will not do.
    """
    from obstore import store  # 50 ms that opening a local release does not need

    scheme = clean_url(url).partition("://")[0]
    options: dict[str, Any] = {"retry_config": _RETRIES, "client_options": dict(_CLIENT)}
    if scheme == "http" or (scheme == "s3" and os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true")):
        options["client_options"]["allow_http"] = True
    if scheme in _CREDENTIALS and not any(os.environ.get(name) for name in _CREDENTIALS[scheme]):
        options["skip_signature"] = True
    kinds: dict[str, Any] = {"s3": store.S3Store, "gs": store.GCSStore, "az": store.AzureStore}
    with told(url, "connect to"):
        return kinds.get(scheme, store.HTTPStore).from_url(url, **options)


@contextmanager
def told(url: str, action: str) -> Iterator[None]:
    """Turn what obstore raises into our errors, which carry no secret.

    Raises:
        FileNotFoundError: if there is no such object.
        StoreError: if the place refuses, does not exist, or does not answer.
    """
    from obstore import exceptions

    try:
        yield
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise StoreError(f"{url}: expected a bucket of this name, found none. {_where(url)}") from None
        raise FileNotFoundError(2, "No such object", url) from None
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
        raise
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise StoreError(
            f"{url}: expected permission to {action} it, found a refusal ({_reason(error)}). {_credentials(url)}"
        ) from None
    except exceptions.BaseError as error:
        text = str(error)
        if "NoSuchBucket" in text:
            raise StoreError(f"{url}: expected a bucket of this name, found none. {_where(url)}") from None
        reason = _reason(error)
        kind = InterruptedCallError if reason in _INTERRUPTED else StoreError
        raise kind(f"{url}: expected to {action} it, found {reason}. {_where(url)}") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"{url}: expected to {action} it, found {type(error).__name__}. {_where(url)}") from None


def check_process(url: str) -> None:
    """See to it that this process may connect: obstore's threads do not follow into a forked one, which would wait for ever.

    Raises:
        StoreError: if it was forked from one that had connected.
    """
    first = _CONNECTED.setdefault("process", os.getpid())
    if first != os.getpid():
        raise StoreError(
            f"{url}: expected a process that was started afresh, found one forked from a process that read from a store or "
            'web server. Give the DataLoader or pool the context "spawn" (multiprocessing_context="spawn").'
        )


def asked(url: str, action: str, ask: Callable[[], Answer]) -> Answer:
    """An answer, asked for again if none came or it broke off: obstore itself repeats requests, not bodies half received.

    Raises:
        FileNotFoundError: as `told`.
        StoreError: as `told`.
    """
    check_process(url)
    for again in range(_TRIES):
        try:
            with told(url, action):
                return ask()
        except InterruptedCallError:
            if again == _TRIES - 1:
                raise
            time.sleep(0.1 * 2**again)
    raise AssertionError("the last try returns or raises")


def _reason(error: Exception) -> str:
    """What went wrong, in words that cannot hold a secret."""
    text = str(error)
    status, code = _STATUS.search(text), _CODE.search(text)
    if status or code:
        return " ".join(filter(None, (status and f"status {status[1]}", code and code[1])))
    for sign, words in (
        ("kind: Timeout", "no answer in time"),
        ("timed out", "no answer in time"),
        ("kind: Connect", "nobody who answers there"),
        ("dns error", "no such host"),
        ("error sending request", "a broken connection"),
        ("kind: Decode", "an answer that broke off"),
        ("BadScheme", "an endpoint without TLS, which AWS_ALLOW_HTTP=true would allow"),
        ("NotSupported", "a server that does not support it"),
        ("invalid", "settings that do not fit together"),
    ):
        if sign in text:
            return words
    return type(error).__name__


def _where(url: str) -> str:
    scheme = url.partition("://")[0]
    if scheme == "s3":
        endpoint = (
            os.environ.get("AWS_ENDPOINT_URL_S3")
            or os.environ.get("AWS_ENDPOINT_URL")
            or os.environ.get("AWS_ENDPOINT")
        )
        place = (
            f"AWS_ENDPOINT_URL {urlsplit(endpoint).hostname}:{urlsplit(endpoint).port}" if endpoint else "AWS itself"
        )
        return f"Asked of {place}, region {os.environ.get('AWS_REGION') or os.environ.get('AWS_DEFAULT_REGION') or 'us-east-1'}."
    return "Look at the address and the network."


def _credentials(url: str) -> str:
    scheme = url.partition("://")[0]
    if scheme not in _CREDENTIALS:
        return "The server wants to know who asks; only public addresses can be read."
    found = [name for name in _CREDENTIALS[scheme] if os.environ.get(name)]
    return f"Credentials in the environment: {', '.join(found) or 'none, so the request was not signed'}. See docs/remote.md."
