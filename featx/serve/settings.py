"""How a service runs, and what it takes."""

from dataclasses import dataclass, field
from pathlib import Path

from featx.backbone.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """How a service runs; plain values, so that worker processes can be given them.

    Attributes
    ----------
    thing : str
        Path of a head or a gallery, or the name of a backbone.
    host, port
        Where it listens.
    backbone : Settings
        How the backbone runs.
    keys : tuple of str
        API keys; none asks for none.
    allow_teach : bool or None
        Whether a gallery may be taught, with a key where one is asked for; None for only where
        one is.
    hosts : tuple of str
        Names, beside loopback and `host`, that a ``Host`` header may hold.
    deadline_s : float
        Longest time from the headers of a request to its answer.
    body_bytes : int
        Longest body.
    items : int
        Most items of one request.
    pixels : int
        Most pixels of one image.
    seconds : float
        Longest sound.
    text_bytes : int
        Longest text.
    drain_s : float
        Longest time that requests under way are waited for at the end.
    workers : int
        Processes that answer.
    folder : Path or None
        Where processes of one service find each other; None where there is one process.
    access_log : bool
        Whether each request is a line of JSON on stderr.
    """

    thing: str
    host: str = "127.0.0.1"
    port: int = 8000
    backbone: Settings = field(default_factory=Settings)
    keys: tuple[str, ...] = ()
    allow_teach: bool | None = None
    hosts: tuple[str, ...] = ()
    deadline_s: float = 30.0
    body_bytes: int = 32 << 20
    items: int = 1024
    pixels: int = 50_000_000
    seconds: float = 600.0
    text_bytes: int = 1 << 20
    drain_s: float = 20.0
    workers: int = 1
    folder: Path | None = None
    access_log: bool = False

    @property
    def may_teach(self) -> bool:
        """Whether the gallery is opened to be changed."""
        return bool(self.keys) if self.allow_teach is None else self.allow_teach
