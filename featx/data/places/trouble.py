"""What an object store answers instead of what was asked for, in plain words.

Nothing of a URL, a header or a key that a request was made with gets into a message: they may
hold signatures.
"""

import os
import re
import socket
from urllib.parse import urlsplit

from featx.data.places.address import Address
from featx.errors import MissingError, StoreError

CREDENTIALS = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    "gs": ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT"),
    "az": ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN"),
}
"""Scheme → names of variables that are looked at."""

ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
for _other in ("abfs", "abfss"):
    CREDENTIALS[_other], ENDPOINTS[_other] = CREDENTIALS["az"], ENDPOINTS["az"]

_ENDPOINT = re.compile(
    r"https?://(?:[^@\s/]*@)?(?:\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?:/[a-zA-Z0-9._~%/-]*)?"
)
_ALLOWED_ENDPOINT = "https://HOST, or http://HOST:PORT"
MOST_PORT = 65535

_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound"}
_REGION = {
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
}
_DENIED = {
    "SignatureDoesNotMatch": "the secret key does not belong to the access key",
    "InvalidAccessKeyId": "the access key is unknown there",
    "ExpiredToken": "the session token has expired",
    "InvalidToken": "the session token is not valid",
    "RequestTimeTooSkewed": "the clock of this machine is wrong",
}
_SLOW = {"SlowDown", "TooManyRequests", "ServerBusy", "RequestLimitExceeded"}
_ROLES = (
    "AWS_ACCESS_KEY_ID", "AWS_SKIP_SIGNATURE", "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)  # fmt: skip
"""Any of these says where credentials are, or that none are needed."""

ROLE_S = 2.0
"""How long a machine's role is waited for."""

_METADATA_SERVERS = ("169.254.169.254", "metadata.google.internal", "169.254.170.2")

_UNREACHED = (
    ("onnection refused", "nothing answers there"),
    ("dns error", "there is no such host"),
    ("ConnectionRefused", "nothing answers there"),
    ("certificate", "its certificate is not trusted"),
    ("InvalidContentType", "it does not speak TLS; write http:// if that is meant"),
    ("operation timed out", "it does not answer in time"),
    ("NetworkUnreachable", "the network cannot be reached"),
    ("HostUnreachable", "the host cannot be reached"),
)


_FOREIGN = ("Unable to extract metadata", "invalid list response", "ill-formed document")


class RangeError(StoreError):
    """A file is shorter than the bytes that were asked for."""


class DeniedError(StoreError):
    """What was asked for is not allowed."""


class LostError(StoreError):
    """A connection was lost after it had begun; the request may be made again."""


def trouble(cause: BaseException, url: str, address: Address) -> StoreError:
    """Return what went wrong with a request, in plain words.

    Parameters
    ----------
    cause : exception
        Of obstore.
    url : str
        What was asked for, as a user writes it.
    address : Address
        Of the place.
    """
    text = str(cause)
    code = _found(r"<Code>(\w+)</Code>", text)
    status = int(_found(r"status code: (\d{3})", text) or 0)
    bucket = f"{address.scheme}://{address.bucket}"
    if any(server in text for server in _METADATA_SERVERS):
        return StoreError(f"{bucket}: no credentials; {_looked_at(address.scheme)}")
    if code in _REGION or status == 301 or "incorrectly configured region" in text:
        return StoreError(f"{bucket}: {_other_region(text)}")
    if code in _NO_BUCKET:
        return StoreError(f"{bucket}: no such bucket; {_check(address.scheme)}")
    if isinstance(cause, FileNotFoundError):
        return MissingError(f"{url}: no such file")
    if code in _DENIED or status in {401, 403} or _is_denied(cause):
        return DeniedError(f"{url}: {_DENIED.get(code, 'denied')}; {_looked_at(address.scheme)}")
    return _of_service(text, code, status, url) or _of_network(text, url, address)


def _of_service(text: str, code: str, status: int, url: str) -> StoreError | None:
    """Return what a store said that could be reached; None if it said nothing."""
    retries = int(_found(r"after (\d+) retries", text) or 0)
    tried = f", {retries + 1} times" if retries else ""
    if code in _SLOW or status in {429, 503}:
        later = "run the command again later; what was finished is kept"
        return StoreError(f"{url}: the store asks to slow down{tried}; {later}")
    if status >= 500:
        later = "run the command again later"
        return StoreError(
            f"{url}: the store has trouble of its own ({status} {code}){tried}; {later}"
        )
    if status == 416:
        return RangeError(f"{url}: ends before the bytes that were asked for")
    if status:
        return StoreError(f"{url}: the store refuses: {status} {code}".rstrip())
    return None


def _of_network(text: str, url: str, address: Address) -> StoreError:
    """Return why no answer came."""
    bucket = f"{address.scheme}://{address.bucket}"
    if "object with invalid path" in text:
        named = _found(r'path: "((?:[^"\\]|\\.)*)"', text)
        return StoreError(
            f"{bucket}: an object is named '{named:.200}', with an empty part, '.' or a control "
            "character, which the store's client cannot read; rename it, or name a prefix that "
            "does not hold it"
        )
    if "builder error" in text:
        hint = "the endpoint is http://, which is refused; set AWS_ALLOW_HTTP=true"
        return StoreError(f"{bucket}: {hint}")
    for sign, words in _UNREACHED:
        if sign in text:
            where = endpoint(address.scheme) or "the store"
            return StoreError(f"{bucket}: cannot reach {where}: {words}; {_check(address.scheme)}")
    if "HTTP error" in text or "decoding" in text or "HttpError" in text:
        again = "run the command again; what was finished is kept"
        return LostError(f"{url}: the connection was lost again and again; {again}")
    if any(sign in text for sign in _FOREIGN):
        where = endpoint(address.scheme) or "the address"
        return StoreError(f"{bucket}: {where} is no object store; {_check(address.scheme)}")
    first = re.sub(r"https?://\S+", "...", text.strip().split("\n", 1)[0])
    return StoreError(f"{url}: {first:.200}")


def endpoint(scheme: str) -> str:
    """Return the address of the store, where the environment names one; without a password."""
    for name in ENDPOINTS[scheme]:
        if found := os.environ.get(name):
            return re.sub(r"//.*@", "//", found)
    return ""


def require_endpoints(scheme: str) -> None:
    """Raise where a variable names no address of a store: the client would panic.

    Raises
    ------
    StoreError
        Without a password that the variable may hold.
    """
    for name in (*ENDPOINTS[scheme], "AWS_METADATA_ENDPOINT" if scheme == "s3" else ""):
        found = os.environ.get(name, "")
        match = _ENDPOINT.fullmatch(found)
        if found and (match is None or int(match["port"] or 0) > MOST_PORT):
            shown = re.sub(r"^(\w+://)?.*@", r"\1...@", found, flags=re.DOTALL)
            raise StoreError(f"{name}: {shown!r} is no address; expected {_ALLOWED_ENDPOINT}")


def require_credentials(address: Address) -> None:
    """Raise where no credentials are set, and nothing answers that a machine's role comes from.

    Asked at once: the client would go on asking for a minute.

    Raises
    ------
    StoreError
    """
    if address.scheme != "s3" or any(os.environ.get(name) for name in _ROLES):
        return
    where = urlsplit(os.environ.get("AWS_METADATA_ENDPOINT", "http://169.254.169.254"))
    try:
        socket.create_connection((where.hostname or "", where.port or 80), ROLE_S).close()
    except OSError as cause:
        message = f"s3://{address.bucket}: no credentials; {_looked_at('s3')}"
        raise StoreError(message) from cause


def _looked_at(scheme: str) -> str:
    names = CREDENTIALS[scheme]
    told = (f"{name} is {'set' if os.environ.get(name) else 'not set'}" for name in names)
    return f"credentials are read from the environment: {', '.join(told)}"


def _check(scheme: str) -> str:
    region = ", AWS_REGION" if scheme == "s3" else ""
    return f"check its name{region} and {ENDPOINTS[scheme][0]}"


def _other_region(text: str) -> str:
    region = _found(r"expecting '([\w-]+)'", text) or _found(r"<Region>([\w-]+)</Region>", text)
    named = (
        f"the bucket lies in region {region!r}" if region else "the bucket lies in another region"
    )
    used = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""
    return f"{named}; AWS_REGION is {used!r}" if used else f"{named}; set AWS_REGION"


def _is_denied(cause: BaseException) -> bool:
    from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

    return isinstance(cause, PermissionDeniedError | UnauthenticatedError)


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else ""
