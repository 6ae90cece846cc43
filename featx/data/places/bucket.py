"""A place that is a bucket of an object store, or what lies below a prefix of one."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from featx.data.files import explained, writing
from featx.data.places.address import Address
from featx.data.places.place import Entry, require_name
from featx.data.places.trouble import (
    ENDPOINTS,
    LostError,
    RangeError,
    require_credentials,
    require_endpoints,
    trouble,
)
from featx.errors import ChangedError, MissingError, StoreError

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore, S3Store

PART_BYTES = 16 << 20
"""A larger file travels in parts of this size; S3 takes at most 10,000 of them."""

PARTS_AT_ONCE = 4

TRIES = 6
"""How often a request is made whose connection was lost after it had begun."""

FIRST_WAIT_S = 0.2
"""Before the second try; doubled before each further one."""

NO_TAG = f'"{0:032}"'
"""The tag of no file."""

OPTIONS = {"connect_timeout": "5s", "read_timeout": "60s", "timeout": "1h"}

RETRIES = {
    "max_retries": 10,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"max_backoff": timedelta(seconds=5)},
}
"""What the client does by itself: 5xx, slow-down, no connection."""

T = TypeVar("T")


class BucketPlace:
    """A place that is a bucket, or what lies below a prefix of one.

    Credentials, region and endpoint are read from the environment alone.  A request whose
    connection is lost is made again, with back-off.  Pickled, it is its URL.

    Parameters
    ----------
    address : Address
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.url = str(address)
        self._is_asked = False  # whether the store knows conditions

    def read(self, name: str) -> tuple[bytes, str]:
        """Return the content of a file and its tag."""

        def get() -> tuple[bytes, str]:
            found = self._api.get(self._store, self._key(name))
            return found.bytes().to_bytes(), _tag(found.meta)

        return self._tried(name, get)

    def read_range(
        self, name: str, offset: int, size_bytes: int, *, tag: str | None = None
    ) -> bytes:
        """Return some bytes of a file."""
        if not size_bytes:
            return b""
        raw, _ = self._range(name, offset, size_bytes, tag)
        if len(raw) < size_bytes:
            end = offset + len(raw)
            message = f"{self._at(name)}: ends at byte {end}; {offset + size_bytes} expected"
            raise StoreError(message)
        return bytes(raw)

    def put(self, name: str, raw: bytes) -> None:
        """Write a file whole or not at all."""
        self._put(name, raw)

    def put_file(self, name: str, path: Path) -> None:
        """Copy a local file here, whole or not at all."""
        with explained(path), path.open("rb"):  # its errors are not those of the store
            self._put(name, path)

    def get_file(self, name: str, path: Path, *, listed: Entry | None = None) -> str:
        """Copy a file to a local path, whole or not at all, and return its tag."""
        for _ in range(TRIES):
            with suppress(ChangedError), writing(path) as temporary:
                return self._fetch(name, temporary, listed)
            listed = None
        raise StoreError(f"{self._at(name)}: changes faster than it can be read")

    def put_if(self, name: str, raw: bytes, tag: str | None) -> str:
        """Write a file only if nobody else has meanwhile, and return its new tag."""
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            found = _tag(self._put(name, raw, mode=self._condition(name, tag)))
        except (AlreadyExistsError, PreconditionError, MissingError) as cause:
            held = self._held(name)
            # The answer to a request that was carried out may have been lost.
            if held is not None and held[0] == raw:
                return held[1]
            raise ChangedError(f"{self._at(name)}: another process wrote it meanwhile") from cause
        self._require_conditions(name, raw)
        return found

    def _require_conditions(self, name: str, raw: bytes) -> None:
        """Raise where a store writes whatever the condition: writers would overwrite each other.

        Asked once, with what cannot be met; who does not look at it writes the same bytes again.
        """
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        if self._is_asked or self.address.scheme != "s3":
            return
        for header, mode in (("If-None-Match", "create"), ("If-Match", {"e_tag": NO_TAG})):
            with suppress(AlreadyExistsError, PreconditionError, MissingError):
                self._put(name, raw, mode=mode)
                raise StoreError(
                    f"{self.url}: the store passes over {header}, by which two runs are kept "
                    "apart; use a newer version of it, or another store"
                )
        self._is_asked = True

    def entry(self, name: str) -> Entry:
        """Return what is known of a file."""
        try:
            meta = self._tried(name, lambda: self._api.head(self._store, self._key(name)))
        except MissingError:
            next(self.list(), None)  # says so where the bucket is missing
            raise
        return Entry(name, meta["size"], _tag(meta), meta["last_modified"].timestamp())

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Yield the files whose names start with `prefix`, in folders too, by name."""
        below = self._prefix(prefix.rpartition("/")[0])
        skipped = len(self.address.key) + 1 if self.address.key else 0
        for meta in self._metas(below):
            name = meta["path"][skipped:]
            if name.startswith(prefix) and name:
                yield Entry(name, meta["size"], _tag(meta), meta["last_modified"].timestamp())

    def delete(self, names: Iterable[str]) -> None:
        """Delete files; those that are gone already do not matter."""
        keys = [self._key(name) for name in names]
        if not keys:
            return
        try:
            self._tried("", lambda: self._api.delete(self._store, keys))
        except MissingError:  # not every store passes over what is gone
            for key in keys:
                with suppress(MissingError):
                    self._tried("", partial(self._api.delete, self._store, [key]))

    def __repr__(self) -> str:
        return f"BucketPlace({self.url!r})"

    def __reduce__(self) -> tuple[type["BucketPlace"], tuple[Address]]:
        return BucketPlace, (self.address,)

    @cached_property
    def _api(self) -> Any:  # noqa: ANN401
        import obstore

        return obstore

    @cached_property
    def _store(self) -> "S3Store | GCSStore | AzureStore":
        """The client of the bucket; it opens connections as they are needed."""
        from obstore import store as stores

        scheme, bucket = self.address.scheme, self.address.bucket
        require_endpoints(scheme)
        endpoint = next((os.environ[n] for n in ENDPOINTS[scheme] if os.environ.get(n)), "")
        options: Any = OPTIONS | {"allow_http": endpoint.startswith("http://")}
        how: Any = {"client_options": options, "retry_config": RETRIES}
        require_credentials(self.address)
        try:
            if scheme == "s3":
                return stores.S3Store(bucket, **how)
            if scheme == "gs":
                return stores.GCSStore(bucket, **how)
            container, _, host = bucket.partition("@")
            account: Any = {"account_name": host.partition(".")[0]} if host else {}
            return stores.AzureStore(container, **account, **how)
        except Exception as cause:
            raise trouble(cause, self.url, self.address) from cause

    def _key(self, name: str) -> str:
        return self._prefix(require_name(name))

    def _prefix(self, name: str) -> str:
        return "/".join(filter(None, (self.address.key, name)))

    def _at(self, name: str) -> str:
        return f"{self.url}/{name}" if name else self.url

    def _held(self, name: str) -> tuple[bytes, str] | None:
        try:
            return self.read(name)
        except MissingError:
            return None

    def _put(self, name: str, what: bytes | Path, *, mode: Any = "overwrite") -> Any:  # noqa: ANN401
        key = self._key(name)
        how: dict[str, Any] = {"mode": mode}
        if isinstance(what, Path):
            how |= {"chunk_size": PART_BYTES, "max_concurrency": PARTS_AT_ONCE}
        else:
            how |= {"use_multipart": False}
        return self._tried(name, lambda: self._api.put(self._store, key, what, **how))

    def _condition(self, name: str, tag: str | None) -> Any:  # noqa: ANN401
        if tag is None:
            return "create"
        if self.address.scheme != "gs":
            return {"e_tag": tag}
        # Google's condition is on the number of the version, which a listing does not tell.
        meta = self._tried(name, lambda: self._api.head(self._store, self._key(name)))
        if _tag(meta) != tag:
            raise ChangedError(f"{self._at(name)}: another process wrote it meanwhile")
        return {"e_tag": tag, "version": meta["version"]}

    def _metas(self, below: str) -> Iterator[Any]:
        """Yield the facts of all files below a prefix; after a lost connection from there on."""
        last, left = None, TRIES
        while left:
            stream = self._api.list(self._store, below or None, offset=last, chunk_size=1000)
            try:
                while batch := self._tried("", partial(next, stream, None), is_retried=False):
                    yield from batch
                    last, left = batch[-1]["path"], TRIES
            except LostError:
                left -= 1
                if not left:
                    raise
                time.sleep(FIRST_WAIT_S * 2 ** (TRIES - left))
            else:
                return

    def _fetch(self, name: str, path: Path, listed: Entry | None) -> str:
        """Copy a file to a path and return its tag; raises `ChangedError` if it changes."""
        start, first = 0, memoryview(b"")
        if listed is None or not listed.size_bytes:
            first, meta = self._part(name, 0, None)
            start, size_bytes, tag = PART_BYTES, int(meta["size"]), _tag(meta)
        else:
            size_bytes, tag = listed.size_bytes, listed.tag
        with path.open("wb") as file, ThreadPoolExecutor(PARTS_AT_ONCE) as pool:
            file.write(first)
            file.flush()

            def copy(offset: int) -> None:
                raw = self._part(name, offset, tag)[0]
                while raw:  # a disk that is nearly full takes less, and no error
                    count = os.pwrite(file.fileno(), raw, offset)
                    raw, offset = raw[count:], offset + count

            for _ in pool.map(copy, range(start, size_bytes, PART_BYTES)):
                pass
        return tag

    def _part(self, name: str, offset: int, tag: str | None) -> tuple[memoryview, Any]:
        """Return a part of a file, and its facts; raises `ChangedError` if its tag is another."""
        try:
            return self._range(name, offset, PART_BYTES, tag)
        except RangeError:
            if tag is not None:
                raise
            raw, found = self.read(name)  # of a file without bytes there is no range
            return memoryview(raw), {"size": len(raw), "e_tag": found}

    def _range(
        self, name: str, offset: int, size_bytes: int, tag: str | None
    ) -> tuple[memoryview, Any]:
        """Return some bytes of a file, fewer where it ends, and its facts; see `_part`."""
        from obstore.exceptions import PreconditionError

        asked: dict[str, Any] = {"range": (offset, offset + size_bytes)}
        if tag is not None:
            asked["if_match"] = tag

        def get() -> tuple[memoryview, Any]:
            found = self._api.get(self._store, self._key(name), options=asked)
            raw = memoryview(found.bytes())
            if len(raw) != min(size_bytes, found.meta["size"] - offset):
                at = f"{self._at(name)}: ends at byte {offset + len(raw)}"
                raise LostError(f"{at} of {found.meta['size']}; run the command again")
            return raw, found.meta

        try:
            return self._tried(name, get)
        except PreconditionError as cause:
            raise ChangedError(f"{self._at(name)}: changed while it was read") from cause

    def _tried(self, name: str, request: Callable[[], T], *, is_retried: bool = True) -> T:
        """Return what a request gives; made again if its connection was lost.

        Conditions that were not met are left as obstore raises them.
        """
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        wait_s = FIRST_WAIT_S
        for left in range(TRIES - 1 if is_retried else 0, -1, -1):
            try:
                return request()
            except (AlreadyExistsError, PreconditionError):
                raise
            except StoreError as cause:
                if not isinstance(cause, LostError) or not left:
                    raise
            except Exception as cause:
                found = trouble(cause, self._at(name), self.address)
                if not isinstance(found, LostError) or not left:
                    raise found from cause
            time.sleep(wait_s)
            wait_s *= 2
        raise AssertionError


def _tag(meta: Any) -> str:  # noqa: ANN401
    if not meta["e_tag"]:
        raise StoreError("the store tells no ETag, by which versions are known; use another store")
    return str(meta["e_tag"])
