"""Processes: a service as one process, or as several that are looked after by another.

::

    parent: listens, hands on signals, replaces workers that have died; opens nothing
      ├── worker: accepts from the parent's socket; of a gallery the first may write
      └── worker
"""

import gc
import logging
import os
import signal
import socket
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from uvicorn import Config, Server
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from featx.backbone.settings import cores
from featx.errors import FeatxError, InputError
from featx.serve.http.hosts import is_loopback
from featx.serve.server import (
    HANGING_S,
    NOTICE_S,
    OneServer,
    Told,
    config_of,
    listen,
    log_lines,
)
from featx.serve.settings import ServeSettings

RESTART_S = 1.0
"""Least time between two starts of workers in place of others."""

GARBAGE = 20_000
"""Objects that are made before the youngest are looked through; Python's 700 is for small ones."""

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

FAILURE = "failure"
"""File in the folder of a service that says why a worker could not start."""

TOLD = "told"
"""File there that says that a worker was ready."""

LOGGER = logging.getLogger("featx.serve")


def run(settings: ServeSettings, tell: Told) -> None:
    """Serve until a signal ends it; requests under way are answered first.

    Parameters
    ----------
    settings : ServeSettings
    tell : callable
        Told what is served, and the port, once it is; it pickles, for workers.

    Raises
    ------
    FeatxError
        If it cannot start.
    """
    require_safe(settings)
    _raise_open_files()
    log_lines()
    with listen(settings) as listening:
        if settings.workers == 1:
            OneServer(config_of(settings), partial(_settled, tell)).run([listening])
        else:
            _run_several(settings, tell, listening)


def require_safe(settings: ServeSettings) -> None:
    """Raise where other machines could use a service without a key.

    Raises
    ------
    InputError
    """
    if not settings.keys and not is_loopback(settings.host):
        raise InputError(
            f"--host {settings.host}: other machines reach it, so it needs an API key: "
            "--keys-file FILE, or FEATX_API_KEYS"
        )


def _raise_open_files() -> None:
    """Allow as many connections as this user may have."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _run_several(settings: ServeSettings, tell: Told, listening: socket.socket) -> None:
    with tempfile.TemporaryDirectory(prefix="featx-serve-") as name:
        folder = Path(name)
        os.environ[METRICS_FOLDER] = name
        threads = settings.backbone.threads or max(1, cores() // settings.workers)
        backbone = replace(settings.backbone, threads=threads)
        config = config_of(replace(settings, folder=folder, backbone=backbone))
        told = partial(_settled, partial(_tell_once, folder, tell))
        _Supervisor(config, [listening], told, folder).run()


def _settled(tell: Told, what: str, port: int) -> None:
    """Spare the collector what is there for good, models and modules by the thousand, and tell."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE)
    tell(what, port)


def _tell_once(folder: Path, tell: Told, what: str, port: int) -> None:
    """Tell that a service is ready, if no other worker has."""
    with suppress(FileExistsError):
        (folder / TOLD).touch(exist_ok=False)
        tell(what, port)


class _Worker(Process):
    """A process that answers.

    Parameters
    ----------
    config : Config
    sockets : list of socket
    tell : callable
    folder : Path
    """

    def __init__(
        self, config: Config, sockets: list[socket.socket], tell: Told, folder: Path
    ) -> None:
        self._tell = tell
        self._failure = folder / FAILURE
        super().__init__(config, sockets)

    @property
    def server(self) -> Server:
        """The server of this process."""
        if self._server is None:
            self._server = OneServer(self.config, self._tell)
        return self._server

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve; runs in the process itself."""
        log_lines()
        _ = self.server  # made before the thread that answers the parent asks for it
        try:
            super().target(sockets)
        except FeatxError as error:
            self._failure.write_text(str(error), encoding="utf-8", errors="backslashreplace")
            sys.exit(1)


class _Supervisor(Multiprocess):
    """Starts workers and looks after them.

    Parameters
    ----------
    config : Config
    sockets : list of socket
    tell : callable
    folder : Path
        Of the service.
    """

    def __init__(
        self, config: Config, sockets: list[socket.socket], tell: Told, folder: Path
    ) -> None:
        super().__init__(config, sockets)
        self._tell = tell
        self._folder = folder
        self._restarted_s = time.monotonic()

    def init_processes(self) -> None:
        """Start one worker, and the others once it is ready: it may write, and finds what fails."""
        first = self._started()
        self.processes = [first]
        while not first.wait_until_ready(RESTART_S, self.should_exit):
            self.handle_signals()
            if self.should_exit.is_set():
                return
            if not first.process.is_alive():
                if (self._folder / TOLD).exists():  # it was ready, and is replaced like any other
                    break
                raise InputError(self._why(first))
        self.processes += [self._started() for _ in range(self.processes_num - 1)]

    def _started(self) -> Process:
        process = _Worker(self.config, self.sockets, self._tell, self._folder)
        process.start()
        return process

    def _why(self, process: Process) -> str:
        """Return why a worker has ended, as far as is known."""
        failure = self._folder / FAILURE
        if failure.exists():
            why = failure.read_text(encoding="utf-8")
            failure.unlink()
            return why
        code = process.exitcode or 0
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"worker {process.pid} has ended ({how})"

    def keep_subprocess_alive(self) -> None:
        """Replace workers that have died or hang."""
        for at, process in enumerate(self.processes):
            is_alive = process.is_alive(timeout=HANGING_S)
            if is_alive or self.should_exit.is_set():
                continue
            if time.monotonic() - self._restarted_s < RESTART_S:
                return  # one that cannot start is not started all the time
            process.kill()
            process.join()
            LOGGER.warning("%s; another one starts", self._why(process))
            self._forget(process)
            self._restarted_s = time.monotonic()
            self.processes[at] = self._started()

    def _forget(self, process: Process) -> None:
        """Take the gauges of a process that has ended out of the metrics."""
        for path in self._folder.glob(f"gauge_live*_{process.pid}.db"):
            path.unlink(missing_ok=True)

    def handle_hup(self) -> None:
        """Have every worker look whether there is something new to serve."""
        for process in self.processes:
            # One that still starts opens what is there anyway, and SIGHUP would end it.
            if process.is_ready(timeout=RESTART_S) and process.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGHUP)

    def handle_ttin(self) -> None:
        """Start no further worker: their number is given."""

    def handle_ttou(self) -> None:
        """End no worker: their number is given."""

    def terminate_all(self) -> None:
        """Tell every worker to end, and hold the socket open no longer than they do."""
        super().terminate_all()
        for listening in self.sockets:
            listening.close()

    def join_all(self) -> None:
        """Wait for the workers' requests; one that does not end is ended."""
        longest_s = NOTICE_S + (self.config.timeout_graceful_shutdown or 0) + HANGING_S
        ends_s = time.monotonic() + longest_s
        for process in self.processes:
            process.process.join(max(0.0, ends_s - time.monotonic()))
            if process.process.is_alive():
                LOGGER.warning("worker %s does not end, and is killed", process.pid)
                process.kill()
                process.join()
