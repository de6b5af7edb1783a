"""Fetching: limits hold, and nothing inside the network is reached; the only server is one on 127.0.0.1."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from vlmcli.errors import InputError
from vlmcli.inputs.fetch import MAX_REDIRECTS, Network, fetch, is_public

BODY = bytes(range(256)) * 4
PUBLIC = "93.184.215.14"
Page = Callable[[BaseHTTPRequestHandler], None]


class Handler(BaseHTTPRequestHandler):
    """Serves the pages that a test puts into ``pages``, and notes the requests."""

    pages: ClassVar[dict[str, Page]] = {}
    seen: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers["Host"]))
        self.pages.get(self.path, lambda handler: handler.send_error(404))(self)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Says nothing about clients that hang up, as a fetch that is refused half-way does."""

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class Site:
    """A server on 127.0.0.1 with a few pages."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.seen = Handler.seen

    def page(self, path: str, body: bytes = BODY, **headers: str) -> str:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(body)

        Handler.pages[path] = answer
        return self.url + path

    def redirect(self, path: str, target: str, status: int = 302) -> str:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            handler.send_header("Location", target)
            handler.end_headers()

        Handler.pages[path] = answer
        return self.url + path

    def raw(self, path: str, sent: bytes) -> str:
        """A page that sends exactly these bytes and hangs up."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.wfile.write(sent)
            handler.close_connection = True

        Handler.pages[path] = answer
        return self.url + path

    def network(self, hosts: dict[str, Sequence[str]], **others: object) -> Network:
        """A network where ``hosts`` have those addresses and every connection ends at this site."""
        self.connections: list[tuple[str, int]] = []

        def resolve(host: str, port: int) -> Sequence[str]:
            if host not in hosts:
                raise socket.gaierror(-2, "Name or service not known")
            return hosts[host]

        def connect(address: tuple[str, int], timeout_s: float) -> socket.socket:
            self.connections.append(address)
            return socket.create_connection(("127.0.0.1", self.port), timeout_s)

        return Network(resolve=resolve, connect=connect, **others)  # type: ignore[arg-type]


@pytest.fixture
def site() -> Iterator[Site]:
    Handler.pages.clear()
    Handler.seen.clear()
    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Site(server.server_port)
    server.shutdown()
    server.server_close()
    thread.join()


# What is fetched


def test_the_body_arrives_whole(site: Site) -> None:
    assert fetch(site.page("/a.png"), allow_private=True) == BODY


def test_a_body_without_a_length_and_one_in_chunks(site: Site) -> None:
    plain = site.raw("/plain", b"HTTP/1.0 200 OK\r\n\r\n" + BODY)
    chunks = site.raw(
        "/chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    assert fetch(plain, allow_private=True) == BODY
    assert fetch(chunks, allow_private=True) == b"abcde"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(site: Site, status: int) -> None:
    site.page("/there/a.png")
    assert fetch(site.redirect("/here/", "../there/a.png", status), allow_private=True) == BODY


def test_the_path_is_quoted_and_the_host_is_sent(site: Site) -> None:
    site.page("/gr%C3%BC%C3%9Fe%20a.png?q=%C3%A4&b=1%2F2")
    network = site.network({"example.org": [PUBLIC]})
    assert fetch("http://example.org/grüße a.png?q=ä&b=1%2F2#part", network=network) == BODY
    assert site.seen[0][1] == "example.org"


def test_an_international_host_is_resolved_in_ascii(site: Site) -> None:
    site.page("/")
    assert fetch("http://bücher.example", network=site.network({"xn--bcher-kva.example": [PUBLIC]})) == BODY


# Addresses


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2001:0:0:0:0:0:80ff:fffe",
    ],
)
def test_addresses_inside_the_network_are_refused(address: str, site: Site) -> None:
    assert not is_public(address)
    network = site.network({"example.org": [PUBLIC, address]})
    with pytest.raises(InputError, match="not on the public internet") as caught:
        fetch("http://example.org/a.png", network=network)
    assert "--allow-private-urls" in (caught.value.hint or "")
    assert caught.value.exit_code == 3
    assert network and site.connections == [], "it was connected to before the check"


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::808:808"])
def test_public_addresses_are_not(address: str) -> None:
    assert is_public(address)


def test_this_machine_is_refused_under_every_name(site: Site) -> None:
    site.page("/a.png")
    for host in ("127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"):
        with pytest.raises(InputError, match=r"not on the public internet|cannot be resolved"):
            fetch(f"http://{host}:{site.port}/a.png")
    assert site.seen == []


def test_a_redirect_into_the_network_is_refused(site: Site) -> None:
    site.redirect("/a.png", f"http://inside.example:{site.port}/secret")
    site.page("/secret")
    network = site.network({"example.org": [PUBLIC], "inside.example": ["10.0.0.1"]})
    with pytest.raises(InputError, match=r"inside\.example is at 10\.0\.0\.1"):
        fetch("http://example.org/a.png", network=network)
    assert [path for path, _ in site.seen] == ["/a.png"]


def test_the_connection_goes_to_the_address_that_was_checked(site: Site) -> None:
    site.page("/a.png")
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    network = Network(resolve=lambda host, port: next(answers), connect=site.network({}).connect)
    assert fetch("http://rebinding.example/a.png", network=network) == BODY
    assert site.connections == [(PUBLIC, 80)]
    assert next(answers) == ["127.0.0.1"], "the host was resolved a second time"


def test_the_next_address_is_tried(site: Site) -> None:
    site.page("/a.png")
    direct = site.network({"example.org": [PUBLIC, "8.8.8.8"]})

    def connect(address: tuple[str, int], timeout_s: float) -> socket.socket:
        if address[0] == PUBLIC:
            raise ConnectionRefusedError(111, "Connection refused")
        return direct.connect(address, timeout_s)

    assert fetch("http://example.org/a.png", network=Network(resolve=direct.resolve, connect=connect)) == BODY


# Limits


def test_a_body_that_says_it_is_too_long_is_not_read(site: Site) -> None:
    url = site.page("/a.png", **{"Content-Length": str(10**12)})
    with pytest.raises(InputError, match="larger than 32 MB"):
        fetch(url, allow_private=True)


def test_a_body_that_turns_out_too_long_is_given_up(site: Site) -> None:
    url = site.raw("/a.png", b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 2000)
    assert len(fetch(url, allow_private=True, max_bytes=2000)) == 2000
    with pytest.raises(InputError, match="larger than"):
        fetch(url, allow_private=True, max_bytes=1999)


def test_a_body_that_breaks_off_is_no_image(site: Site) -> None:
    url = site.page("/a.png", b"half", **{"Content-Length": "8", "Connection": "close"})
    with pytest.raises(InputError, match="broke off after 4 of 8 bytes"):
        fetch(url, allow_private=True)


def test_redirects_have_an_end(site: Site) -> None:
    with pytest.raises(InputError, match=f"more than {MAX_REDIRECTS} redirects"):
        fetch(site.redirect("/round", "/round"), allow_private=True)
    assert len(site.seen) == MAX_REDIRECTS + 1


def test_the_time_limit_covers_the_whole_download(site: Site) -> None:
    now = iter(range(0, 1000, 7))
    network = Network(clock=lambda: float(next(now)))
    with pytest.raises(InputError, match="no complete answer within 20 s"):
        fetch(site.page("/a.png"), allow_private=True, network=network)


def test_a_silent_server_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(InputError, match="no complete answer"):
            fetch(url, allow_private=True, timeout_s=0.05)


# What cannot be fetched


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("ftp://example.org/a.png", "only http and https"),
        ("file:///etc/passwd", "only http and https"),
        ("http://", "names no host"),
        ("http:///a.png", "names no host"),
        ("http://example.org:99999/", "no valid URL"),
        ("http://[::1/", "no valid URL"),
        ("http://" + "a" * 70 + ".org/", "no valid URL"),
    ],
)
def test_urls_that_make_no_sense(url: str, word: str) -> None:
    with pytest.raises(InputError, match=word):
        fetch(url, network=Network(resolve=lambda host, port: pytest.fail("it was resolved")))


def test_a_redirect_to_a_file_is_refused(site: Site) -> None:
    with pytest.raises(InputError, match="only http and https"):
        fetch(site.redirect("/a.png", "file:///etc/passwd"), allow_private=True)


def test_a_password_is_neither_sent_nor_shown() -> None:
    with pytest.raises(InputError) as caught:
        fetch("http://me:geheim@example.org/a.png")
    assert "geheim" not in caught.value.message


def test_a_host_that_does_not_exist(site: Site) -> None:
    with pytest.raises(InputError, match=r"http://nowhere\.example/: the host name cannot be resolved"):
        fetch("http://nowhere.example/", network=site.network({}))


@pytest.mark.parametrize("status", [404, 403, 500, 204])
def test_other_statuses_are_named(site: Site, status: int) -> None:
    url = site.raw("/a.png", f"HTTP/1.1 {status} Because\r\n\r\n".encode())
    with pytest.raises(InputError, match=f"HTTP {status} Because"):
        fetch(url, allow_private=True)


@pytest.mark.parametrize("sent", [b"", b"hello\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000])
def test_nonsense_instead_of_http(site: Site, sent: bytes) -> None:
    with pytest.raises(InputError) as caught:
        fetch(site.raw("/a.png", sent), allow_private=True)
    assert caught.value.hint


def test_a_closed_port(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(InputError, match="refused"):
        fetch(f"http://127.0.0.1:{port}/", allow_private=True)


# TLS


def test_https_is_secured_for_the_host_and_not_for_the_address(site: Site) -> None:
    site.page("/a.png")
    secured = []

    def secure(link: socket.socket, host: str) -> socket.socket:
        secured.append(host)
        return link

    network = site.network({"example.org": [PUBLIC]}, secure=secure)
    assert fetch("https://example.org/a.png", network=network) == BODY
    assert secured == ["example.org"]
    assert site.connections == [(PUBLIC, 443)]
    assert site.seen[0][1] == "example.org"


def test_a_server_that_speaks_no_tls_is_refused(site: Site) -> None:
    with pytest.raises(InputError, match="no secure connection"):
        fetch(f"https://127.0.0.1:{site.port}/", allow_private=True)


def test_a_certificate_is_checked(site: Site) -> None:
    def secure(link: socket.socket, host: str) -> socket.socket:
        link.close()
        raise ssl.SSLCertVerificationError(1, "certificate verify failed")

    with pytest.raises(InputError, match="certificate verify failed"):
        fetch("https://example.org/", network=site.network({"example.org": [PUBLIC]}, secure=secure))
