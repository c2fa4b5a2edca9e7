"""What holds for every test: one torch thread, no network."""

import ipaddress
import os
import socket

import pytest
import torch
from hypothesis import settings

# Each of pytest-xdist's workers gets one thread; processes that a test starts inherit the variable.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

settings.register_profile("thalweg", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("thalweg")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection or a look-up that would leave this machine fails."""
    connect, connect_ex, look_up = (
        socket.socket.connect,
        socket.socket.connect_ex,
        socket.getaddrinfo,
    )

    def guarded_connect(self: socket.socket, address: object) -> None:
        _refuse_outside(self.family, address)
        connect(self, address)  # type: ignore[arg-type]

    def guarded_connect_ex(self: socket.socket, address: object) -> int:
        _refuse_outside(self.family, address)
        return connect_ex(self, address)  # type: ignore[arg-type]

    def guarded_look_up(host: object, *args: object, **kwargs: object) -> object:
        _refuse_outside(socket.AF_INET, (host,))
        return look_up(host, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_look_up)


def _refuse_outside(family: int, address: object) -> None:
    if family not in (socket.AF_INET, socket.AF_INET6):
        return
    host = address[0]  # type: ignore[index]
    host = host.decode() if isinstance(host, bytes) else host
    if host is None or host == "localhost":
        return
    try:
        if ipaddress.ip_address(host).is_loopback:
            return
    except ValueError:
        pass
    raise RuntimeError(f"a test must not use the network, but this one asks for {host}")
