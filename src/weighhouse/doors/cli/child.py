"""What the supervisor starts: one API process or one evaluation worker. Its settings come by the environment."""

import argparse
import signal
import socket
import sys

from weighhouse.app import App
from weighhouse.doors.cli.children import DRAIN_SIGNAL
from weighhouse.doors.cli.configuration import configure_logging, read_settings
from weighhouse.doors.cli.lifeline import tie_to_parent

# After so long what is still in flight is cut.
_DRAIN_SECONDS = 30


def main() -> None:
    """Runs until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("api", "worker"))
    parser.add_argument("--lifeline", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--listener", type=int)
    given = parser.parse_args()
    # An exit in order, and not the signal's default: uvicorn raises it once more when it is done.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    tie_to_parent(given.lifeline, given.parent)
    settings = read_settings()
    configure_logging(settings)
    app = App.open(settings)
    if given.role == "api":
        _serve(app, socket.socket(fileno=given.listener))
    else:
        from weighhouse.doors import worker

        worker.run(app)


def _serve(app: App, listener: socket.socket) -> None:
    # Here and not above: each role is spared the memory of the other's imports.
    import uvicorn

    from weighhouse.doors.server import make_app
    from weighhouse.doors.wire import SendfileProtocol

    api = make_app(app)

    def drain(*_: object) -> None:
        api.state.is_draining = True

    signal.signal(DRAIN_SIGNAL, drain)
    config = uvicorn.Config(
        api,
        http=SendfileProtocol,
        loop="auto",
        ws="none",
        lifespan="on",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        log_config=None,
        # Longer than a proxy in front keeps an idle connection, or it would send a request into one just closed.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
