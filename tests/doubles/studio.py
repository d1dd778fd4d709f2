"""An upstream double that makes videos: OpenAI's endpoints on `/v1/videos`, MiniMax's beside them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.doubles.upstream import Reply, Seen, Upstream, json_reply

BYTES = bytes(range(256)) * 400


class Studio(Upstream):
    """Videos are as `videos` has them: upstream id → what its object says. What is scripted comes first."""

    def __init__(self) -> None:
        super().__init__()
        self.videos: dict[str, dict[str, Any]] = {}
        self.hailuo: dict[str, Any] = {"status": "Preparing"}

    def make(self, **said: Any) -> None:
        """From now on every video says this."""
        for video in self.videos.values():
            video.update(said)

    def complete(self, **said: Any) -> None:
        self.make(status="completed", progress=100, **said)

    def asked(self, method: str = "GET") -> int:
        """How many requests of a method came in."""
        return sum(seen.method == method for seen in self.seen)

    def _choose(self, seen: Seen) -> Reply:
        if self.script:
            return self.script.popleft()
        url = urlsplit(seen.path)
        if url.path == "/v1/video_generation":
            return json_reply({"task_id": "106916112212032", "base_resp": {"status_code": 0, "status_msg": "success"}})
        if url.path == "/v1/query/video_generation":
            said = {"task_id": parse_qs(url.query)["task_id"][0], "base_resp": {"status_code": 0, "status_msg": ""}}
            return json_reply({**said, **self.hailuo})
        if url.path == "/v1/files/retrieve":
            link = f"http://127.0.0.1:{self.port}/download/{parse_qs(url.query)['file_id'][0]}?signature=a%2Fb"
            file = {"file_id": 205258526306433, "bytes": 0, "filename": "output.mp4", "download_url": link}
            return json_reply({"file": file, "base_resp": {"status_code": 0, "status_msg": "success"}})
        if url.path.startswith("/download/"):
            return self._content(seen)
        if url.path == "/v1/videos":
            return json_reply(self._new(seen))
        found = re.fullmatch(r"/v1/videos/([^/]+)(/content|/remix)?", url.path)
        video = self.videos.get(found[1]) if found else None
        if found is None or video is None:
            return json_reply({"error": {"message": "not found", "type": "invalid_request_error"}}, 404)
        if found[2] == "/content":
            return self._content(seen)
        if found[2] == "/remix":
            made = self._new(seen)
            made.update(remixed_from_video_id=found[1], seconds=video["seconds"], size=video["size"])
            return json_reply(made)
        if seen.method == "DELETE":
            del self.videos[found[1]]
            return json_reply({"id": found[1], "object": "video.deleted", "deleted": True})
        return json_reply(video)

    def _new(self, seen: Seen) -> dict[str, Any]:
        upstream_id = f"vid/up {len(self.videos) + 1}"
        video = {
            "id": upstream_id,
            "object": "video",
            "created_at": 1_700_000_000,
            "status": "queued",
            "progress": 0,
            "model": "sora-upstream",
            "seconds": field(seen, "seconds") or "4",
            "size": field(seen, "size") or "720x1280",
        }
        self.videos[upstream_id.replace("/", "%2F").replace(" ", "%20")] = video
        return video

    def _content(self, seen: Seen) -> Reply:
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", seen.headers.get("range", ""))
        body = BYTES[int(asked[1]) : int(asked[2]) + 1] if asked else BYTES
        headers = {"content-length": str(len(body)), "accept-ranges": "bytes", "set-cookie": "a=b", "etag": '"e1"'}
        if asked:
            headers["content-range"] = f"bytes {asked[1]}-{asked[2]}/{len(BYTES)}"
        return Reply([body[:1000], body[1000:]], 206 if asked else 200, "video/mp4", headers)


def field(seen: Seen, name: str) -> str | None:
    """A field of a form, or of a JSON body."""
    if seen.headers.get("content-type", "").startswith("multipart/form-data"):
        found = re.search(rb'name="%b"\r\n\r\n(.*?)\r\n--' % name.encode(), seen.body, re.DOTALL)
        return found[1].decode() if found else None
    value = json.loads(seen.body).get(name) if seen.body else None
    return value if value is None else str(value)


@pytest.fixture(name="studio")
def studio_fixture() -> Iterator[Studio]:
    """A studio that is open while a test runs."""
    double = Studio().start()
    yield double
    double.stop()
