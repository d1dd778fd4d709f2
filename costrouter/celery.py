"""The Celery app and its schedule. Messages are wake-ups: what there is to do stands in the database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery import Celery
from celery.schedules import crontab
from celery.signals import beat_init, worker_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "costrouter.settings")

app = Celery("costrouter")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.autodiscover_tasks(["relay"], related_name="jobs")
app.autodiscover_tasks(["costrouter.sign_in"])

_DAY = 24 * 60 * 60
# Task, when, and the seconds of one period: a message older than that expires, so a stopped worker leaves no backlog.
SCHEDULE: tuple[tuple[str, Any, int], ...] = (
    ("billing.tasks.settle", 1, 1),
    ("billing.tasks.sweep", 10, 10),
    ("billing.tasks.reconcile_nightly", crontab(hour="3", minute="10"), _DAY),
    ("billing.tasks.check_totals_nightly", crontab(hour="3", minute="25"), _DAY),
    ("relay.jobs.poll_videos", 10, 10),
    ("relay.jobs.forget_turns", crontab(minute="25"), 3600),
    ("costrouter.sign_in.tasks.forget_sessions", crontab(hour="3", minute="45"), _DAY),
    ("billing.tasks.prune", crontab(hour="3", minute="40"), _DAY),
    ("channels_app.tasks.prune_hours", crontab(hour="3", minute="50"), _DAY),
)
app.conf.beat_schedule = {
    task: {"task": task, "schedule": when, "options": {"expires": period}} for task, when, period in SCHEDULE
}


def make_broker_folders(sender: Celery, **kwargs: Any) -> None:
    """The filesystem transport expects its folders to be there."""
    for folder in _broker_folders(sender):
        folder.mkdir(parents=True, exist_ok=True)


def refuse_to_start_on_errors(**kwargs: Any) -> None:
    """A wrong or missing setting stops the worker at start, as it stops every command."""
    from costrouter.checks import refuse_errors

    refuse_errors()


def drop_empty_files(**kwargs: Any) -> None:
    """Forget empty message and exchange files, which a writer that was killed leaves behind.

    Reading one kills the worker (kombu issue 1551); left alone, it would kill the next one too.
    """
    for folder in _broker_folders(app):
        for file in folder.iterdir():
            if file.is_file() and file.stat().st_size == 0:
                file.unlink(missing_ok=True)


def _broker_folders(celery: Celery) -> list[Path]:
    """The folders of the filesystem broker; none where Redis is the broker."""
    if not celery.conf.broker_url.startswith("filesystem:"):
        return []
    options = celery.conf.broker_transport_options
    return [Path(options["data_folder_in"]), Path(options["control_folder"])]


app.on_after_configure.connect(make_broker_folders)
worker_init.connect(refuse_to_start_on_errors)
worker_init.connect(drop_empty_files)
beat_init.connect(refuse_to_start_on_errors)
