"""Uploads and downloads of objects whose connection is cut in the middle."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator

import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import retrying, storage
from pipelines.retrying import OutageError, outages_named
from tests.object_stores.emulators import Store, amazon_store, google_store

SIZE = 12 * 2**20
# Its client sends pieces of 16 MiB.
GOOGLE_SIZE = 18 * 2**20
TRIED_SECONDS = 3.0
_LOOK_SECONDS = 0.05


class Wire(socketserver.ThreadingTCPServer):
    """Passes bytes on to a server, and cuts connections that have carried too many.

    Attributes:
      cuts_left: how many connections are to be cut.
      cut_after: bytes that one may carry up, or down.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Passage)
        self.target = host, port
        self.cuts_left = 0
        self.cuts = 0
        self.cut_after = 2**20
        self.lock = threading.Lock()

    def is_to_cut(self, carried: int) -> bool:
        with self.lock:
            if carried < self.cut_after or not self.cuts_left:
                return False
            self.cuts_left -= 1
            self.cuts += 1
            return True


class _Passage(socketserver.BaseRequestHandler):
    server: Wire

    def handle(self) -> None:
        self.is_over = self.is_cut = False
        with socket.create_connection(self.server.target) as beyond:
            ends = (self.request, beyond)
            for end in ends:
                end.settimeout(_LOOK_SECONDS)
            back = threading.Thread(target=self._pass, args=(beyond, self.request), daemon=True)
            back.start()
            self._pass(self.request, beyond)
            back.join()
            if self.is_cut:
                for end in ends:
                    # Both ends hear of a reset: neither takes what it has for all there is.
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.close()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        carried = 0
        try:
            while not self.is_over:
                try:
                    data = source.recv(65536)
                except TimeoutError:
                    continue
                carried += len(data)
                if not data:
                    break
                if self.server.is_to_cut(carried):
                    self.is_cut = True
                    break
                target.settimeout(None)
                target.sendall(data)
                target.settimeout(_LOOK_SECONDS)
        except OSError:
            pass
        self.is_over = True


@contextlib.contextmanager
def wire_to(address: str) -> Iterator[Wire]:
    """A wire to a server."""
    host, port = address.rpartition("//")[2].split(":")
    wire = Wire(host, int(port))
    threading.Thread(target=wire.serve_forever, daemon=True).start()
    try:
        yield wire
    finally:
        wire.shutdown()
        wire.server_close()


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Store, Wire]]:
    """Google's bucket behind a wire that can be cut."""
    from apache_beam.io.gcp import gcsio_retry

    # Its client would try for two minutes.
    monkeypatch.setattr(
        gcsio_retry, "get_retry", lambda _: gcsio_retry.DEFAULT_RETRY.with_timeout(TRIED_SECONDS))
    with google_store() as store, wire_to(store.environment["STORAGE_EMULATOR_HOST"]) as wire:
        address = wire.server_address
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://{address[0]}:{address[1]}")
        yield store, wire


def require_whole_after_a_cut(store: Store, wire: Wire, size_bytes: int) -> None:
    data = bytes(range(256)) * (size_bytes // 256)
    wire.cuts_left = 1
    with storage.create(store.path("cut/once")) as file:
        for start in range(0, size_bytes, 2**20):
            file.write(data[start : start + 2**20])
    assert wire.cuts == 1
    assert storage.read_existing(store.path("cut/once")) == data


def test_an_upload_to_google_that_is_cut_once_is_whole(google: tuple[Store, Wire]) -> None:
    require_whole_after_a_cut(*google, GOOGLE_SIZE)


def test_an_upload_to_google_that_is_cut_for_good_leaves_nothing(
    google: tuple[Store, Wire]
) -> None:
    store, wire = google
    wire.cuts_left = 10**6
    file = storage.create(store.path("cut/off"))
    with pytest.raises(OutageError), outages_named():
        file.write(bytes(GOOGLE_SIZE))
    assert wire.cuts > 1
    wire.cuts_left = 0
    file.close()
    assert storage.size_bytes(store.path("cut/off")) is None


@pytest.fixture
def wired() -> Iterator[tuple[Store, Wire]]:
    """An S3 bucket behind a wire that can be cut."""
    with amazon_store() as store, wire_to(store.flags[0]) as wire:
        address, beyond = wire.server_address, store.flags[1:]
        endpoint = f"--s3_endpoint_url=http://{address[0]}:{address[1]}"
        FileSystems.set_options(PipelineOptions([endpoint, *beyond]))
        yield store, wire


def test_an_upload_that_is_cut_once_is_whole(wired: tuple[Store, Wire]) -> None:
    require_whole_after_a_cut(*wired, SIZE)


def test_a_download_that_is_cut_is_read_on(wired: tuple[Store, Wire]) -> None:
    store, wire = wired
    data = bytes(range(256)) * (SIZE // 256)
    store.write("cut/down", data)
    wire.cuts_left, wire.cuts = 3, 0
    with storage.open_to_read(store.path("cut/down")) as file:
        assert file.read() == data
    assert wire.cuts == 3


def test_an_upload_that_is_cut_for_good_leaves_nothing(wired: tuple[Store, Wire]) -> None:
    store, wire = wired
    wire.cuts_left = 10**6
    file = storage.create(store.path("cut/off"))
    with pytest.raises(OutageError), outages_named():
        file.write(bytes(SIZE))
    wire.cuts_left = 0
    file.close()
    assert storage.size_bytes(store.path("cut/off")) is None


def test_small_requests_that_are_cut_are_made_again(
    wired: tuple[Store, Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, wire = wired
    monkeypatch.setattr(retrying, "PAUSES_SECONDS", (0.0,) * len(retrying.PAUSES_SECONDS))
    store.write("cut/small", b"small")
    # Beam's client makes each request five times by itself.
    wire.cut_after, wire.cuts_left = 1, 7
    assert list(storage.sizes_in(store.path("cut")).values()) == [5]
    wire.cuts_left = 7
    storage.copy(store.path("cut/small"), store.path("cut/copy"))
    wire.cuts_left = 7
    storage.delete([store.path("cut/small")])
    assert wire.cuts == 21
    assert list(storage.sizes_in(store.path("cut"))) == [store.path("cut/copy")]
