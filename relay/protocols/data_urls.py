"""`data:` URLs of base64 (RFC 2397): how OpenAI's dialects send images and documents along."""

from __future__ import annotations


def data_url(media_type: str | None, data: str) -> str:
    """Base64 as a URL."""
    return f"data:{media_type or 'application/octet-stream'};base64,{data}"


def is_data_url(url: str) -> bool:
    return url[:5].lower() == "data:"


def split_data_url(url: str) -> tuple[str, str] | None:
    """The media type and the base64 of a `data:` URL; None where it is not one of base64."""
    head, comma, data = url.partition(",")
    if not comma or not is_data_url(head) or not head.lower().endswith(";base64"):
        return None
    return head[5:-7].partition(";")[0].strip().lower() or "text/plain", data
