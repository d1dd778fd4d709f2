"""`python -m costrouter.sandbox PORT`, or `--fd N` on a listening socket that the parent hands down."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Sequence

import uvicorn

from costrouter.sandbox.app import app


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve on loopback until SIGTERM."""
    parser = argparse.ArgumentParser(
        description="An OpenAI-compatible upstream with deterministic answers, on loopback."
    )
    parser.add_argument("port", type=int, nargs="?", default=0, help="0, the default, takes a free one.")
    parser.add_argument("--fd", type=int, help="A listening socket to serve instead.")
    options = parser.parse_args(arguments)
    listener = socket.socket(fileno=options.fd) if options.fd is not None else listen(options.port)
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=2)
    uvicorn.Server(config).run(sockets=[listener])


def listen(port: int) -> socket.socket:
    """A listening socket on loopback."""
    return socket.create_server(("127.0.0.1", port), backlog=1024)


if __name__ == "__main__":
    main()
