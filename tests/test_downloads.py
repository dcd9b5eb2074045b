import gzip
import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from children import bounded
from command_line import QUICK, error_line, kseq

from kseq.checks import shown_path
from kseq.data import downloads
from kseq.data.connections import Patience
from kseq.data.downloads import NAMED_TEXTS, NamedText, cache_folder, download, find_text
from kseq.errors import FileError

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

CONTENT = b"the time traveller " * 5000
PATIENCE = Patience(connect=20, stall=20, whole=60)


class Answers(BaseHTTPRequestHandler):
    """Each path is one way in which a server answers."""

    def do_GET(self):
        getattr(self, self.path.strip("/"))()

    def send(self, body, length=None, status=200):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def whole(self):
        self.send(CONTENT)

    def redirect(self, location):
        self.send_response(302)
        self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def moved(self):
        self.redirect("/whole")

    def moved_to_another_host(self):
        self.redirect(f"http://localhost:{self.server.server_port}/whole")  # type: ignore[attr-defined]

    def moved_to_a_login_page(self):
        self.redirect("/page")

    def moved_in_circles(self):
        self.redirect("/moved_in_circles")

    def moved_to_a_file(self):
        self.redirect("file:///etc/passwd")

    def moved_to_ftp(self):
        self.redirect("ftp://127.0.0.1/whole")

    def moved_nowhere(self):
        self.redirect("http://[not an address/")

    def failing(self):
        self.send(b"", status=500)

    def forbidden(self):
        self.send(b"<html>", status=403)

    def empty(self):
        self.send(b"")

    def packed(self):
        body = gzip.compress(CONTENT)
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def in_chunks(self, *sizes):
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        for size in sizes:
            self.wfile.write(b"%x\r\n%s\r\n" % (size, CONTENT[:size]))
        self.close_connection = True

    def chunked(self):
        self.in_chunks(19, 19 * 4998, 19, 0)

    def chunked_short(self):
        self.in_chunks(19, 19 * 4998)

    def chunked_nonsense(self):
        self.in_chunks(19)
        self.wfile.write(b"not a size\r\n")

    def endless(self):
        self.send_response(200)
        self.end_headers()
        while not self.server.released.is_set():  # type: ignore[attr-defined]
            self.wfile.write(CONTENT)

    def length_too_small(self):
        self.send(CONTENT, length=50_000)

    def length_too_large(self):
        self.send(CONTENT[:-1], length=10**12)

    def length_no_number(self):
        self.send(CONTENT, length="many")

    def short(self):
        self.send(CONTENT[:50_000])

    def closing_early(self):
        self.send(CONTENT[:50_000], length=len(CONTENT))

    def long(self):
        self.send(CONTENT + b"!")

    def wrong(self):
        self.send(CONTENT[:-1] + b"!")

    def page(self):
        self.send(b"\n<!DOCTYPE html><title>Please log in</title>" * 10_000)

    def missing(self):
        self.send(b"<html>no such file</html>", status=404)

    def stalled(self):
        self.send(CONTENT[:50_000], length=len(CONTENT))
        self.server.released.wait(10)  # type: ignore[attr-defined]

    def silent(self):
        self.server.released.wait(10)  # type: ignore[attr-defined]

    def dripping(self):
        self.send(b"", length=len(CONTENT))
        for start in range(100):
            if self.server.released.wait(0.05):  # type: ignore[attr-defined]
                break
            self.wfile.write(CONTENT[start : start + 1])

    def dripping_headers(self):
        self.wfile.write(b"HTTP/1.0 200 OK\r\n")
        for _ in range(100):
            if self.server.released.wait(0.05):  # type: ignore[attr-defined]
                break
            self.wfile.write(b"X: y\r\n")

    def no_http(self):
        self.wfile.write(b"+OK this is another protocol\r\n")

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    def __init__(self):
        self.released = threading.Event()
        super().__init__(("127.0.0.1", 0), Answers)

    def handle_error(self, *_):
        pass  # the client hung up, as it should


@pytest.fixture(scope="module")
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def text(server, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    return NamedText(
        name="some_text",
        file_name="sometext.txt",
        size=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        url=f"http://127.0.0.1:{server.server_port}/whole",
        cleaning="none",
        edition="",
    )


def answered(text: NamedText, how: str) -> NamedText:
    return replace(text, url=text.url.replace("/whole", f"/{how}"))


def refused(text: NamedText, path: Path, patience: Patience = PATIENCE) -> str:
    with pytest.raises(FileError) as raised:
        download(text, path, patience)
    assert not path.exists()
    assert not path.parent.exists() or list(path.parent.iterdir()) == []
    return str(raised.value)


@pytest.mark.parametrize(
    "how", ["whole", "moved", "moved_to_another_host", "chunked", "length_no_number"]
)
def test_a_good_download_is_the_file_alone(text, tmp_path, how):
    path = tmp_path / "new" / "folder" / "sometext.txt"
    assert download(answered(text, how), path, PATIENCE) == path
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ("short", "found 50,000 of 95,000 bytes"),
        ("closing_early", "found 50,000 of 95,000 bytes"),
        ("long", "found more than 95,000 bytes"),
        ("wrong", "found SHA-256 "),
        ("page", "found an HTML page, perhaps a login page"),
        ("missing", "found HTTP 404 Not Found"),
        ("stalled", "found no data for 0.3 s"),
        ("silent", "found no data for 0.3 s"),
        ("no_http", "found "),
        ("empty", "found 0 of 95,000 bytes"),
        ("failing", "found HTTP 500 Internal Server Error"),
        ("forbidden", "found HTTP 403 Forbidden"),
        ("moved_to_a_login_page", "found an HTML page, perhaps a login page"),
        ("moved_in_circles", "found HTTP 302 The HTTP server returned a redirect error"),
        ("moved_to_a_file", "found HTTP 302 "),
        ("moved_to_ftp", "found unknown url type: ftp"),
        ("moved_nowhere", "found Invalid IPv6 URL"),
        ("packed", "found it packed (gzip), which nobody asked for"),
        ("chunked_short", "found "),
        ("chunked_nonsense", "found "),
        ("endless", "found more than 95,000 bytes"),
        ("length_too_small", "found 50,000 of 95,000 bytes"),
        ("length_too_large", "found 94,999 of 95,000 bytes"),
    ],
)
def test_a_bad_download_leaves_nothing_and_says_where_to_put_the_file(text, tmp_path, how, found):
    patience = replace(PATIENCE, stall=0.3) if how in ("stalled", "silent") else PATIENCE
    message = refused(answered(text, how), tmp_path / "sometext.txt", patience)
    assert message.startswith("some_text: the download from 127.0.0.1:")
    assert found in message
    assert message.endswith(f"place it by hand at {shown_path(tmp_path / 'sometext.txt', 110)}")
    assert len(message) <= 280


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ("wrong", "found SHA-256 "),
        ("closing_early", "found 50,000 of 95,000 bytes"),
        ("stalled", "found no data for 0.3 s"),
        ("missing", "found HTTP 404 Not Found"),
        ("moved_to_a_login_page", "found an HTML page, perhaps a login page"),
    ],
)
def test_through_the_command_line_it_is_one_line_and_exit_5(
    text, tmp_path, monkeypatch, how, found
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KSEQ_DATA_DIR", raising=False)
    monkeypatch.setitem(NAMED_TEXTS, "time_machine", answered(text, how))
    stall = 0.3 if how == "stalled" else PATIENCE.stall
    monkeypatch.setattr(downloads, "Patience", lambda: replace(PATIENCE, stall=stall))

    said = kseq("train", "time_machine", *QUICK)

    line = error_line(said)
    assert (said.code, said.out, said.err.count("\n")) == (5, "", 1)
    assert found in line
    assert f"; place it by hand at {tmp_path}"[:40] in line
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("how", ["dripping", "dripping_headers"])
def test_a_dripping_download_ends(text, tmp_path, how):
    patience = replace(PATIENCE, whole=0.2)
    message = refused(answered(text, how), tmp_path / "sometext.txt", patience)
    assert "found it unfinished after 0.2 s" in message


def test_nobody_listens(text, tmp_path):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/x"
        message = refused(replace(text, url=url), tmp_path / "sometext.txt")
    assert "found Connection refused" in message


def test_a_name_that_does_not_resolve(text, tmp_path):
    message = refused(replace(text, url="https://kseq.invalid/x"), tmp_path / "sometext.txt")
    assert message.startswith("some_text: the download from kseq.invalid must give the right file")


def test_a_resolver_that_hangs_is_left_behind(text, tmp_path, monkeypatch):
    hanging = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: hanging.wait(20) and [])
    start = time.monotonic()
    message = refused(text, tmp_path / "sometext.txt", replace(PATIENCE, connect=0.2))
    hanging.set()
    assert "found no connection within 0.2 s" in message
    assert time.monotonic() - start < 10


def test_a_killed_download_leaves_nothing_usable_and_the_next_one_works(text, tmp_path):
    code = (
        "import sys; from pathlib import Path; from kseq.data.downloads import *\n"
        "text = NamedText('t', 'a.txt', 95_000, '', sys.argv[1], 'none', '')\n"
        "download(text, Path(sys.argv[2]))"
    )
    path = tmp_path / "a.txt"
    url = answered(text, "stalled").url
    process = subprocess.Popen([sys.executable, "-c", code, url, str(path)])
    deadline = time.monotonic() + 60
    while not list(tmp_path.iterdir()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not path.exists()

    assert download(text, path, PATIENCE).read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [path]


def test_two_downloads_at_once_give_one_whole_file(text, tmp_path):
    path = tmp_path / "new" / "sometext.txt"
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: download(text, path, PATIENCE), range(8)))
    assert found == [path] * 8
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_cannot_be_made(text, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError, match=r"must be a folder for downloads, found .*; make it wri"):
        download(text, tmp_path / "file" / "sometext.txt", PATIENCE)


NOBODY = "needs a user without rights, which this machine does not let root become"


def as_nobody(work):
    """Run `work` in a child without root's rights; return what it returned, a string.

    It is run once before, with all rights: the child may not be allowed to read the modules
    that `work` imports.
    """
    work()
    heard, saying = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(saying, (work() if _without_rights() else NOBODY).encode())
        except BaseException as error:
            os.write(saying, repr(error).encode())
        finally:
            os._exit(0)
    os.close(saying)
    with os.fdopen(heard) as pipe, bounded(child):
        said = pipe.read()
    os.waitpid(child, 0)
    if said == NOBODY:
        pytest.skip(NOBODY)
    return said


def _without_rights():
    """Give root's rights away; tell whether they are gone."""
    try:
        if os.getuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
    except OSError:
        return False
    return True


def message_of(call):
    try:
        return f"no error: {call()}"
    except FileError as error:
        return str(error)


@pytest.fixture
def open_path(tmp_path, monkeypatch):
    """Give a folder that others reach: from within, since the folders above may be shut to them."""
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    return Path()


@pytest.mark.engine("torch")
def test_a_folder_behind_one_that_nobody_may_pass_is_told(text, open_path):
    behind = open_path / "shut" / "given"
    behind.mkdir(parents=True)
    behind.parent.chmod(0o000)
    said = as_nobody(lambda: message_of(lambda: find_text(text, behind)))
    behind.parent.chmod(0o755)
    assert said == (
        f"{shown_path(behind)}: must be a folder with texts, found none there; check --data-dir"
    )


@pytest.mark.engine("torch")
def test_a_cache_folder_that_cannot_be_written_to_is_refused_before_any_connection(
    text, open_path, monkeypatch
):
    folder = open_path / "cache"
    folder.mkdir(mode=0o555)
    nowhere = replace(text, url="http://kseq.invalid/x")
    said = as_nobody(lambda: message_of(lambda: download(nowhere, folder / "a.txt", PATIENCE)))
    assert said == (
        f"{shown_path(folder)}: must be a folder for downloads, found Permission denied; "
        "make it writable, or set XDG_CACHE_HOME or --data-dir"
    )
    assert list(folder.iterdir()) == []


@pytest.mark.engine("torch")
@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_a_folder_that_nobody_may_look_into_is_told(text, open_path, mode):
    folder = open_path / "given"
    folder.mkdir()
    (folder / text.file_name).write_bytes(CONTENT)
    folder.chmod(mode)
    said = as_nobody(lambda: message_of(lambda: find_text(text, folder)))
    folder.chmod(0o755)
    assert said == (
        f"{shown_path(folder / text.file_name)}: must be readable, found Permission denied; "
        "check its permissions"
    )


def test_a_disk_that_fills(text, tmp_path):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        message = refused(text, tmp_path / "sometext.txt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "found File too large while writing it; place it by hand at" in message


# Finding.


@pytest.fixture
def folders(tmp_path, monkeypatch):
    for name in ("given", "env", "cache/kseq"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setenv("KSEQ_DATA_DIR", str(tmp_path / "env"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_folders_come_in_order_and_the_network_last(text, folders):
    cached = folders / "cache" / "kseq" / "sometext.txt"
    assert find_text(text, folders / "given") == cached
    assert cached.read_bytes() == CONTENT
    offline = answered(text, "missing")
    assert find_text(offline, folders / "given") == cached
    for name in ("env", "given"):
        (folders / name / "sometext.txt").write_bytes(CONTENT)
        assert find_text(offline, folders / "given") == folders / name / "sometext.txt"


@pytest.mark.parametrize("name", ["given", "env", "cache/kseq"])
def test_a_file_with_the_wrong_hash_is_refused_and_kept(text, folders, name):
    path = folders / name / "sometext.txt"
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(FileError) as raised:
        find_text(text, folders / "given")
    assert f"{name}/sometext.txt: must have SHA-256 {text.sha256[:16]}..., found " in str(
        raised.value
    )
    assert path.read_bytes() == CONTENT[:-1]


def test_a_folder_in_place_of_the_file(text, folders):
    (folders / "given" / "sometext.txt").mkdir()
    with pytest.raises(FileError, match=r"must be readable, found Is a directory"):
        find_text(text, folders / "given")


def test_a_data_dir_that_is_missing(text, folders):
    with pytest.raises(FileError, match=r"none: must be a folder with texts, found none there; "):
        find_text(text, folders / "none")


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "kseq"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert cache_folder() == tmp_path / ".cache" / "kseq"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x" / "kseq"


def test_no_home_folder(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def homeless(_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    with pytest.raises(FileError, match=r"^cache folder: must be known, found no home folder; set"):
        cache_folder()


@pytest.mark.parametrize("name", NAMED_TEXTS)
def test_the_known_hashes_and_sizes(name, data_dir):
    text = NAMED_TEXTS[name]
    path = find_text(text, data_dir)
    assert path == data_dir / text.file_name
    assert path.stat().st_size == text.size


@pytest.mark.network
@pytest.mark.parametrize("name", NAMED_TEXTS)
def test_the_real_addresses(name, tmp_path):
    text = NAMED_TEXTS[name]
    assert download(text, tmp_path / text.file_name).stat().st_size == text.size
