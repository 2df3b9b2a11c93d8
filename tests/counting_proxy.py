"""A TCP proxy that counts what passes, both ways."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

_PIECE_BYTES = 256 * 1024


@dataclass
class Traffic:
    """What passed a proxy so far, on all connections.

    Args:
        url: Address of the proxy for clients of HTTP.
    """

    url: str
    sent_bytes: int = 0
    """From those who ask."""
    answered_bytes: int = 0

    @property
    def bytes(self) -> int:
        """Both ways."""
        return self.sent_bytes + self.answered_bytes


@contextmanager
def counted(host: str, port: int) -> Iterator[Traffic]:
    """A proxy on loopback in front of this address."""
    lock = threading.Lock()

    class Pipe(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError), socket.create_connection((host, port)) as upstream:
                back = threading.Thread(target=self._pass, args=(upstream, self.request, False), daemon=True)
                back.start()
                self._pass(self.request, upstream, True)
                back.join()

        def _pass(self, source: socket.socket, target: socket.socket, is_asking: bool) -> None:
            with suppress(OSError):
                while piece := source.recv(_PIECE_BYTES):
                    with lock:
                        traffic.sent_bytes += len(piece) if is_asking else 0
                        traffic.answered_bytes += 0 if is_asking else len(piece)
                    target.sendall(piece)
            with suppress(OSError):
                target.shutdown(socket.SHUT_WR)

    class Listener(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 128

    with Listener(("127.0.0.1", 0), Pipe) as listener:
        traffic = Traffic(f"http://127.0.0.1:{listener.server_address[1]}")
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        try:
            yield traffic
        finally:
            listener.shutdown()
