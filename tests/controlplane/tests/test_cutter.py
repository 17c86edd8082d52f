"""A wire can be cut, refused and frozen; it needs no control plane."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from controlplane.cutter import Cutter
from controlplane.waiting import wait_for

LARGE = 8_000_000


def echo(listener: socket.socket) -> None:
    """Answer each connection with what it sent, until the listener closes."""
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=answer, args=(connection,), daemon=True).start()


def answer(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        while received := connection.recv(65536):
            connection.sendall(received)


@pytest.fixture
def cutter() -> Iterator[Cutter]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=echo, args=(listener,))
        thread.start()
        with Cutter(listener.getsockname()[1]) as running:
            yield running
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.fixture
def client(cutter: Cutter) -> Iterator[socket.socket]:
    with connect(cutter) as connection:
        yield connection


def connect(cutter: Cutter) -> socket.socket:
    return socket.create_connection(("127.0.0.1", cutter.port), timeout=10)


def ask(connection: socket.socket, text: bytes) -> bytes:
    connection.sendall(text)
    return receive(connection, len(text))


def receive(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        part = connection.recv(65536)
        assert part, "the connection was closed"
        received += part
    return received


def test_it_passes_bytes_both_ways(client: socket.socket) -> None:
    assert ask(client, b"hello") == b"hello"


def test_it_passes_much_without_losing_any(client: socket.socket) -> None:
    sender = threading.Thread(target=client.sendall, args=(bytes(LARGE),))
    sender.start()
    assert len(receive(client, LARGE)) == LARGE
    sender.join(10)


def test_a_half_close_reaches_the_other_side(client: socket.socket) -> None:
    client.sendall(b"last")
    client.shutdown(socket.SHUT_WR)
    assert receive(client, 4) == b"last"
    assert client.recv(1) == b""


def test_cut_resets_what_is_open_and_lets_new_connections_in(cutter: Cutter, client: socket.socket) -> None:
    ask(client, b"hello")
    cutter.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with connect(cutter) as second:
        assert ask(second, b"again") == b"again"


def test_refuse_keeps_new_connections_out_and_old_ones_open(cutter: Cutter, client: socket.socket) -> None:
    ask(client, b"hello")
    cutter.refuse()
    with pytest.raises(ConnectionRefusedError):
        connect(cutter)
    assert ask(client, b"still") == b"still"
    cutter.accept()
    with connect(cutter) as second:
        assert ask(second, b"again") == b"again"


def test_freeze_passes_nothing_until_thaw(cutter: Cutter, client: socket.socket) -> None:
    ask(client, b"hello")
    cutter.freeze()
    client.sendall(b"late")
    client.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.recv(1)
    cutter.thaw()
    client.settimeout(10)
    assert receive(client, 4) == b"late"


def test_a_connection_made_while_frozen_is_silent_until_thaw(cutter: Cutter) -> None:
    cutter.freeze()
    with connect(cutter) as connection:
        connection.sendall(b"early")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        cutter.thaw()
        connection.settimeout(10)
        assert receive(connection, 5) == b"early"


def test_it_counts_the_clients_that_are_connected(cutter: Cutter) -> None:
    with connect(cutter) as first, connect(cutter) as second:
        ask(first, b"1")
        ask(second, b"2")
        assert cutter.connections == 2
    wait_for(lambda: cutter.connections == 0, what="the connections to be noticed as closed", timeout=30)


def test_a_server_that_is_not_there_resets_the_client() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nowhere = taken.getsockname()[1]
    # On a busy machine the reset comes while the client still connects.
    with Cutter(nowhere) as cutter, pytest.raises(ConnectionResetError), connect(cutter) as connection:
        connection.recv(1)
