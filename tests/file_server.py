"""A server of files on this machine, whose connections can break off."""

import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer(ThreadingHTTPServer):
    """Serves the files of a folder, with their date as the ETag, and continues where a request asks it to.

    Attributes:
        requests: method, path and ``Range`` of each request.
        break_after: bytes of a response after which the connection is closed, or None.
        status: status of all responses to GET, or None for the right one.
        status_after_break: the status from the first connection on that was closed early.
        continues: whether ranges are sent; otherwise, a response is the whole file.
        states_size: whether a response has a ``Content-Length``.
        answers_head: whether HEAD is allowed.
        pause_after: bytes of a response after which it waits for the event ``is_open``, or None.
    """

    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.requests = []
        self.break_after = self.pause_after = self.status = self.status_after_break = None
        self.continues = self.states_size = self.answers_head = True
        self.is_open = threading.Event()

    def gets(self):
        """Return the ``Range`` of each GET."""
        return [range_ for method, _, range_ in self.requests if method == "GET"]


class Handler(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self._respond()

    def do_GET(self):
        self._respond()

    def _respond(self):
        server = self.server
        range_ = self.headers.get("Range")
        server.requests.append((self.command, self.path, range_))
        path = server.folder / self.path.partition("?")[0].lstrip("/")
        is_get = self.command == "GET"
        if server.status and is_get:
            self.send_error(server.status)
        elif not is_get and not server.answers_head:
            self.send_error(405)
        elif not path.is_file():
            self.send_error(404)
        else:
            content, etag = path.read_bytes(), f'"{path.stat().st_mtime_ns}"'
            start = int(range_.removeprefix("bytes=").rstrip("-")) if range_ and server.continues else 0
            self.send_response(206 if start else 200)
            self.send_header("ETag", etag)
            if server.states_size:
                self.send_header("Content-Length", str(len(content) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            if is_get:
                self._send(content[start:])

    def _send(self, content):
        server = self.server
        if pause := server.pause_after:
            self.wfile.write(content[:pause])
            server.is_open.wait()
            content = content[pause:]
        end = server.break_after or len(content)
        self.wfile.write(content[:end])
        if end < len(content):
            server.status = server.status_after_break

    def handle(self):
        with suppress(ConnectionError):  # the client has closed the connection
            super().handle()

    def log_message(self, *_):
        pass


@contextmanager
def serve(folder):
    """Return a context that gives a running server of a folder."""
    with FileServer(folder) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield server
        finally:
            server.is_open.set()
            server.shutdown()
