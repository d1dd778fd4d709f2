"""One real call to a channel, off the hot path: "test this channel" in the admin. By `relay.upstream.pinned`."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass

import httpx

from channels_app.models import Channel, Provider
from channels_app.snapshot import channel_base_url, channel_credentials
from costrouter.lib import crypto
from costrouter.lib.upstreams import effective_dialects
from relay.routing.probe_asks import Ask, NothingToAsk, ask_of
from relay.upstream.pinned import PinnedTransport, RefusedAddress, pinned_client
from relay.upstream.providers import PROVIDERS
from relay.upstream.secrets import parts_of

MAX_ANSWER_BYTES = 65_536
EXCERPT = 600
# An operator waits for it, and a thread of the web process with them.
MAX_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What came of a probe. `status` is the upstream's HTTP status, None where it did not answer."""

    ok: bool
    latency_ms: int
    status: int | None
    model: str
    message: str


def probe_channel(*, channel: Channel, model: str = "") -> ProbeResult:
    """Send one short request for `model` (default: the channel's first). An upstream's failure is a result."""
    places = channel.channel_models.select_related("model")
    place = places.filter(model__name=model).first() if model else places.first()
    if place is None:
        return ProbeResult(False, 0, None, model, "This channel does not serve such a model.")
    name = place.model.name
    base_url = channel_base_url(channel)
    if not base_url:
        return ProbeResult(False, 0, None, name, "The sandbox is not running here: SANDBOX_URL is not set.")
    try:
        credentials = channel_credentials(channel)
    except crypto.CannotDecrypt as error:
        return ProbeResult(False, 0, None, name, f"The stored credentials cannot be used: {error}.")
    provider = PROVIDERS[channel.provider]
    try:
        ask = ask_of(
            provider,
            base_url=base_url,
            credentials=credentials,
            model=place.upstream_name or name,
            dialects=effective_dialects(channel.provider, channel.dialects),
        )
        url = provider.url_of(ask.call)
        signed = provider.sign(credentials, "POST", url, ask.body) if provider.sign is not None else []
    except NothingToAsk as error:
        return ProbeResult(False, 0, None, name, str(error))
    except ValueError as error:
        return ProbeResult(
            False, 0, None, name, _redact(f"The stored credentials cannot be used: {error}", credentials)
        )
    timeout = httpx.Timeout(
        min(channel.first_byte_timeout, MAX_SECONDS), connect=min(channel.connect_timeout, MAX_SECONDS)
    )
    sent = [(b"content-type", b"application/json"), *provider.headers_of(ask.call), *signed]
    headers = [(key.decode(), value.decode()) for key, value in sent]
    is_sandbox = channel.provider == Provider.SANDBOX
    transport = PinnedTransport(allow_private=is_sandbox or channel.allow_private_addresses)
    started = time.monotonic()
    status, answer, problem = _call(transport, url, headers, ask.body, timeout)
    latency_ms = round((time.monotonic() - started) * 1000)
    ok, message = (False, problem) if problem else _judge(status, answer, ask)
    return ProbeResult(ok, latency_ms, status, name, _redact(message, credentials)[:EXCERPT])


def _call(
    transport: httpx.HTTPTransport,
    url: str,
    headers: list[tuple[str, str]],
    body: bytes,
    timeout: httpx.Timeout,
) -> tuple[int | None, bytes, str]:
    """(status, the beginning of the answer, what went wrong or "")."""
    status: int | None = None
    answer = b""
    deadline = time.monotonic() + MAX_SECONDS
    try:
        with (
            pinned_client(transport, timeout) as client,
            client.stream("POST", url, headers=headers, content=body) as response,
        ):
            status = response.status_code
            for chunk in response.iter_bytes():
                answer += chunk
                if len(answer) > MAX_ANSWER_BYTES:
                    break
                if time.monotonic() > deadline:
                    return status, answer, f"The answer was not complete after {MAX_SECONDS:.0f} s."
    except RefusedAddress as error:
        return None, b"", str(error)
    except httpx.ConnectTimeout:
        return None, b"", f"No connection within {timeout.connect:g} s."
    except httpx.TimeoutException as error:
        return status, b"", f"No answer within {timeout.read:g} s ({type(error).__name__})."
    except httpx.HTTPError as error:
        return status, b"", f"{type(error).__name__}: {error}"
    except (OSError, UnicodeError) as error:
        return None, b"", f"The name could not be resolved: {error}"
    except (httpx.InvalidURL, ValueError) as error:
        return None, b"", f"The request could not be sent: {error}"
    return status, answer, ""


def _judge(status: int | None, answer: bytes, ask: Ask) -> tuple[bool, str]:
    text = answer[:MAX_ANSWER_BYTES].decode("utf-8", "replace").strip()
    if status is None or not 200 <= status < 300:
        return False, text or "(an empty body)"
    try:
        return True, f"It said: {ask.said(json.loads(text))}"
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return False, f"Not {ask.noun}: {text or '(an empty body)'}"


def _redact(text: str, credentials: str) -> str:
    """`text` without the credentials, whole or in parts, as they are or as JSON writes them, and without any token."""
    secrets = {credentials, credentials.strip(), *parts_of(credentials)}
    for secret in sorted(secrets | {json.dumps(secret)[1:-1] for secret in secrets}, key=len, reverse=True):
        if secret:
            text = text.replace(secret, "[credentials]")
    return re.sub(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}", r"\1[credentials]", text)
