"""gunicorn's configuration: `gunicorn -c python:costrouter.gunicorn costrouter.asgi:application`.

Read in gunicorn's master, which loads neither Django nor the application: a worker that is killed or deployed anew
loads both afresh, and the master stays small.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

from costrouter.env import BASE_DIR, load, outside
from costrouter.serve.supervisor import die_with_parent

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "costrouter.settings")
_given = load().values

bind = f"[{_given['BIND']}]:{_given['PORT']}" if ":" in _given["BIND"] else f"{_given['BIND']}:{_given['PORT']}"
workers = _given["WEB_WORKERS"]
worker_class = "costrouter.serve.worker.RelayWorker"
preload_app = False
chdir = str(BASE_DIR)
# Streams may go on for DRAIN_SECONDS after SIGTERM; the rest are cut, charged for what they delivered, and written.
graceful_timeout = _given["DRAIN_SECONDS"] + 15
# A worker that drains no longer reports to the master, which must not take it for hung before it is done.
timeout = graceful_timeout + 75
keepalive = 75
# Every request is a usage record. Proxies are believed by TRUSTED_PROXIES, in the relay, not by the server.
accesslog = None
errorlog = "-"
loglevel = _given["LOG_LEVEL"].lower()
forwarded_allow_ips = ""
control_socket_disable = True
# Workers report to the master by touching a file, which must not wait for a disk.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108


def on_starting(server: Any) -> None:
    """Refuse to start on a wrong or missing setting. `manage.py up` has checked already."""
    if outside("COSTROUTER_CHECKED") == "1":
        return
    check = [sys.executable, str(BASE_DIR / "manage.py"), "check", "--fail-level", "ERROR"]
    if subprocess.run(check, check=False, stdout=subprocess.DEVNULL).returncode:
        raise SystemExit(1)


def post_fork(server: Any, worker: Any) -> None:
    """A worker whose master was killed stops accepting and drains: it must not keep the port from the next master."""
    die_with_parent(server.pid, signal.SIGTERM)
