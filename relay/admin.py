"""What the relay keeps between requests, for operators: videos. Turns of conversations are nobody's to read."""

from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.decorators import display

from billing.models import UsageRecord
from costrouter.admin.base import ReadOnlyAdmin, badge, link, number, page_url, two_lines
from relay.models import VideoTask

_VARIANTS = {
    VideoTask.Status.QUEUED: "default",
    VideoTask.Status.IN_PROGRESS: "info",
    VideoTask.Status.COMPLETED: "success",
    VideoTask.Status.FAILED: "danger",
}


@admin.register(VideoTask)
class VideoTaskAdmin(ReadOnlyAdmin):
    """Videos that upstreams make. What was asked for is the client's own, and is not shown."""

    list_display = ("title", "state", "organization", "model", "length")
    list_filter = (
        ("status", ChoicesDropdownFilter),
        ("organization", AutocompleteSelectFilter),
    )
    list_filter_submit = True
    list_select_related = ("organization",)
    search_fields = ("id", "request_id", "upstream_id")
    search_help_text = "Video, request or the upstream's id"
    show_full_result_count = False
    ordering = ("-request_id",)
    sortable_by = ()
    fields = (
        ("id", "state"),
        "usage",
        ("organization", "model", "group"),
        ("channel_id", "upstream_id"),
        ("length", "remixed_from"),
        ("error_code", "error_message"),
        ("created_at", "completed_at", "deadline"),
        ("poll_at", "expires_at", "deleted_at"),
    )

    @display(description="Video")
    def title(self, task: VideoTask) -> SafeString:
        return two_lines(task.id, f"{task.created_at:%Y-%m-%d %H:%M:%S}")

    @display(description="Status")
    def state(self, task: VideoTask) -> SafeString:
        return badge(task.get_status_display(), _VARIANTS[VideoTask.Status(task.status)])

    @display(description="Length")
    def length(self, task: VideoTask) -> SafeString:
        return number(f"{task.seconds} s {task.size}".strip())

    @display(description="Usage record")
    def usage(self, task: VideoTask) -> SafeString | str:
        """The record is written once the video has ended."""
        if not UsageRecord.objects.filter(pk=task.request_id).exists():
            return "not yet"
        return link(page_url("billing.usagerecord", "change", task.request_id), task.request_id)
