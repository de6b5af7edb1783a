"""Fetch an image's bytes from a URL, with limits on bytes, time and redirects, and never from inside the network.

At every hop the host is resolved once, the addresses are checked, and the connection goes to the very address that
was checked: a name that resolves to something else a moment later (DNS rebinding) gains nothing. Proxies from the
environment are not used, for behind one the address could not be checked.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from vlmcli.errors import InputError

MAX_BYTES = 32 * 1024 * 1024
TIMEOUT_S = 20.0
MAX_REDIRECTS = 5

_REDIRECTS = {301, 302, 303, 307, 308}
_HEADERS = {"User-Agent": "vlmcli", "Accept": "image/*,*/*;q=0.1", "Accept-Encoding": "identity", "Connection": "close"}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def resolve_host(host: str, port: int) -> list[str]:
    """Return the host's IP addresses, as the system resolves them. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def secure(connection: socket.socket, host: str) -> socket.socket:
    """Start TLS on a connection, checking the certificate against ``host``. Raises ssl.SSLError."""
    return ssl.create_default_context().wrap_socket(connection, server_hostname=host)


@dataclass(frozen=True)
class Network:
    """The outside world, so that tests can stand in for it."""

    resolve: Callable[[str, int], Sequence[str]] = resolve_host
    connect: Callable[[tuple[str, int], float], socket.socket] = socket.create_connection
    secure: Callable[[socket.socket, str], socket.socket] = secure
    clock: Callable[[], float] = time.monotonic


def fetch(
    url: str,
    *,
    allow_private: bool = False,
    max_bytes: int = MAX_BYTES,
    timeout_s: float = TIMEOUT_S,
    network: Network | None = None,
) -> bytes:
    """Return what ``url`` (http or https) holds, following at most MAX_REDIRECTS redirects.

    ``timeout_s`` limits the whole download, not each read. Addresses that are not on the public internet are refused
    at every hop unless ``allow_private``. Raises InputError for whatever goes wrong.
    """
    network = network or Network()
    deadline = _Deadline(network.clock, timeout_s)
    for _ in range(MAX_REDIRECTS + 1):
        target = _Target.parse(url)
        try:
            answer = _request(target, deadline, network, allow_private, max_bytes)
        except TimeoutError as error:
            raise InputError(f"{target.shown}: no complete answer within {timeout_s:g} s", _BY_HAND) from error
        except ssl.SSLError as error:
            raise InputError(f"{target.shown}: no secure connection: {_tls_reason(error)}", _BY_HAND) from error
        except (OSError, http.client.HTTPException) as error:
            raise InputError(f"{target.shown}: {_reason(error)}", _BY_HAND) from error
        if isinstance(answer, bytes):
            return answer
        url = urljoin(url, answer.location)
    raise InputError(f"{target.shown}: more than {MAX_REDIRECTS} redirects", _BY_HAND)


def is_public(address: str) -> bool:
    """Say whether an IP address lies on the public internet, looking through IPv6 forms that carry an IPv4 one."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip.is_site_local:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


_BY_HAND = "download the image yourself and give its path"


@dataclass(frozen=True)
class _Redirect:
    location: str


@dataclass(frozen=True)
class _Target:
    """One hop's address; ``shown`` is the URL as error messages may name it, without a password."""

    scheme: str
    host: str
    port: int
    path: str
    shown: str

    @classmethod
    def parse(cls, url: str) -> _Target:
        """Split a URL. Raises InputError for one that is not http(s), has no host, or carries a password."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
            ascii_host = (host or "").encode("ascii" if ":" in (host or "") else "idna").decode()
        except (ValueError, UnicodeError) as error:
            raise InputError(f"{url} is no valid URL: {error}") from error
        shown = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        if parts.scheme not in ("http", "https"):
            raise InputError(f"{shown}: only http and https URLs are fetched, not {parts.scheme}:", _BY_HAND)
        if not ascii_host:
            raise InputError(f"{shown} is no valid URL: it names no host")
        if "@" in parts.netloc:
            raise InputError(f"{shown}: a URL with a user name or password is not fetched", _BY_HAND)
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
        query = "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?[]") if parts.query else ""
        return cls(parts.scheme, ascii_host, port or (443 if parts.scheme == "https" else 80), path + query, shown)


def _request(
    target: _Target, deadline: _Deadline, network: Network, allow_private: bool, max_bytes: int
) -> bytes | _Redirect:
    """Make one request; return the body, or where it redirects to."""
    addresses = _checked_addresses(target, network, allow_private)
    with closing(_connect(target, addresses, deadline, network)) as link:
        kind = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
        connection = kind(target.host, target.port)
        connection.sock = _TimedSocket(link, deadline)
        connection.request("GET", target.path, headers=_HEADERS)
        response = connection.getresponse()
        if response.status in _REDIRECTS and (location := response.getheader("Location")):
            return _Redirect(location)
        if response.status != http.client.OK:
            raise InputError(f"{target.shown}: HTTP {response.status} {response.reason}".rstrip())
        return _body(response, target, max_bytes)


def _checked_addresses(target: _Target, network: Network, allow_private: bool) -> Sequence[str]:
    addresses = network.resolve(target.host, target.port)
    inside = [address for address in addresses if not is_public(address)]
    if inside and not allow_private:
        raise InputError(
            f"{target.shown}: {target.host} is at {inside[0]}, which is not on the public internet",
            "add --allow-private-urls if you trust it",
        )
    return addresses


def _connect(target: _Target, addresses: Sequence[str], deadline: _Deadline, network: Network) -> socket.socket:
    """Connect to the first of the checked addresses that answers, with TLS for https."""
    failure: OSError = OSError("the host has no address")
    for address in addresses:
        try:
            link = network.connect((address, target.port), deadline.left_s())
            return network.secure(link, target.host) if target.scheme == "https" else link
        except OSError as error:
            failure = error
    raise failure


def _body(response: http.client.HTTPResponse, target: _Target, max_bytes: int) -> bytes:
    too_long = InputError(f"{target.shown}: larger than {max_bytes / 2**20:g} MB", _BY_HAND)
    if response.length is not None and response.length > max_bytes:
        raise too_long
    promised = response.length
    body = response.read(max_bytes + 1)
    if len(body) > max_bytes:
        raise too_long
    if promised is not None and len(body) < promised:
        raise InputError(f"{target.shown}: the connection broke off after {len(body)} of {promised} bytes", "try again")
    return body


def _tls_reason(error: ssl.SSLError) -> str:
    return getattr(error, "verify_message", None) or getattr(error, "reason", None) or str(error)


def _reason(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "the host name cannot be resolved"
    if isinstance(error, http.client.HTTPException):
        return f"the answer is not valid HTTP ({type(error).__name__})"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()


class _Deadline:
    """A limit for a whole download, which a server that sends one byte at a time cannot stretch."""

    def __init__(self, clock: Callable[[], float], timeout_s: float) -> None:
        self._clock = clock
        self._end_s = clock() + timeout_s

    def left_s(self) -> float:
        """Return the seconds that are left. Raises TimeoutError when none are."""
        left = self._end_s - self._clock()
        if left <= 0:
            raise TimeoutError
        return left


class _TimedSocket:
    """As much of a socket as http.client needs, every wait limited by the deadline.

    ``close`` does nothing: http.client calls it before the body is read; the socket's owner closes it.
    """

    def __init__(self, link: socket.socket, deadline: _Deadline) -> None:
        self._link = link
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._link.settimeout(self._deadline.left_s())
        self._link.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._link, self._deadline))

    def close(self) -> None:
        pass


class _TimedReader(io.RawIOBase):
    def __init__(self, link: socket.socket, deadline: _Deadline) -> None:
        self._link = link
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._link.settimeout(self._deadline.left_s())
        return self._link.recv_into(buffer)
