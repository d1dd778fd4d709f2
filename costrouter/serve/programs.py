"""What `manage.py up` runs: the web server, the settlement worker, its schedule, and the sandbox where there is one."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from django.conf import settings

from accounts.models import User
from channels_app.models import Channel, ChannelModel, Provider
from costrouter.sandbox.__main__ import listen
from costrouter.serve.supervisor import Plan, Program
from costrouter.setup.demo import key_file, password_file

CELERY = (sys.executable, "-m", "celery", "--quiet", "-A", "costrouter.celery")


class PortTaken(Exception):
    """Somebody else listens there."""


def check_port(*, host: str, port: int) -> None:
    """Raise PortTaken where the web server could not listen. It would only say so again and again."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortTaken(f"{host}:{port}: {error.strerror}. Choose another with --port or PORT.") from error


def clean_broker() -> None:
    """Empty the filesystem broker: messages are wake-ups that nobody needs any more, and a broken one is poison.

    The folders stay, for another `up` may still be draining beside this one.
    """
    if settings.REDIS_URL:
        return
    control = Path(settings.CELERY_BROKER_DIR) / "control"
    for folder in (control, taken_dir()):
        folder.mkdir(parents=True, exist_ok=True)
    for file in (*control.parent.glob("*.msg"), *control.glob("*"), *taken_dir().glob("*")):
        file.unlink(missing_ok=True)


def taken_dir() -> Path:
    """Where the worker moves a message before it reads it: beside the messages, so that moving is atomic."""
    return Path(settings.CELERY_BROKER_DIR) / "taken"


def make_plan(*, port: int, workers: int) -> Plan:
    """The processes to run. A sandbox listens on a free loopback port, which all of them are told."""
    shared = {"PORT": str(port), "WEB_WORKERS": str(workers), "COSTROUTER_CHECKED": "1"}
    programs = []
    if Channel.objects.filter(provider=Provider.SANDBOX).exists():
        listener = listen(0)
        shared["SANDBOX_URL"] = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        listener.set_inheritable(True)
        descriptor = listener.detach()
        command = (sys.executable, "-m", "costrouter.sandbox", "--fd", str(descriptor))
        programs.append(Program("sandbox", command, shared, (descriptor,)))
    web = (sys.executable, "-m", "gunicorn", "-c", "python:costrouter.serve.gunicorn", "costrouter.asgi:application")
    worker = (*CELERY, "worker", "-P", "solo", "-l", "WARNING", "--without-gossip", "--without-mingle")
    beat = (*CELERY, "beat", "-l", "WARNING", "--pidfile=")
    # Running as root in a container is the operator's choice; Celery would remark on it at every start.
    celery = {**shared, "PYTHONWARNINGS": "ignore::UserWarning:celery.platforms"}
    taken = {} if settings.REDIS_URL else {"TMPDIR": str(taken_dir())}
    programs += [
        Program("web", web, shared, stop_seconds=settings.DRAIN_SECONDS + 25),
        Program("worker", (*worker, "--without-heartbeat"), {**celery, **taken}, stop_seconds=20),
        Program("beat", beat, celery),
    ]
    # The sandbox outlives its callers, and beat the worker: idle, it would see only after seconds that it is to stop.
    order = [name for name in ("web", "worker", "beat", "sandbox") if name in {program.name for program in programs}]
    host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(settings.BIND, settings.BIND)  # noqa: S104
    return Plan(programs, order, "web", (host, port), greeting(host=host, port=port))


def greeting(*, host: str, port: int) -> str:
    """Where to sign in, and a request to paste."""
    base = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    lines = ["", f"CostRouter is ready: {base}", ""]
    admin = User.objects.filter(is_superuser=True).order_by("id").first()
    if admin:
        password = f", password in {password_file()}" if password_file().exists() else ""
        lines += [f"  Sign in   {base}/accounts/login/   {admin.email}{password}"]
    lines += [f"  API Docs  {base}/docs/"]
    model = ChannelModel.objects.filter(channel__status=Channel.Status.ENABLED).order_by("channel_id", "-model__name")
    name = model.values_list("model__name", flat=True).first()
    if key_file().exists() and name:
        lines += [
            "  Try it",
            "",
            f"curl {base}/v1/chat/completions -H \"Authorization: Bearer $(cat '{key_file()}')\" "
            f"-H 'Content-Type: application/json' "
            f'-d \'{{"model": "{name}", "messages": [{{"role": "user", "content": "Hello"}}]}}\'',
        ]
    return "\n".join([*lines, "", "Ctrl-C stops it.", ""])
