"""Calls to upstreams: one pooled session a process, guarded addresses, and a plain account of what went wrong."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from httpx_aiohttp import AiohttpTransport

from channels_app.snapshot import ChannelInfo
from costrouter.lib import netguard
from relay.providers import PROVIDERS

# An upstream's error is read up to here; a model's whole answer up to MAX_ANSWER_BYTES.
MAX_ERROR_BYTES = 256 * 1024
MAX_ANSWER_BYTES = 256 * 1024 * 1024
# A kept connection that the upstream had closed meanwhile fails at once, and says nothing of the channel: the request
# is sent again on another connection of the same channel. Later than this, the upstream may have worked on it.
STALE_SECONDS, MAX_STALE = 1.0, 10
# After its last event a stream has this long to end properly, so that its connection can be kept.
END_SECONDS = 1.0
_reused: ContextVar[list[bool]] = ContextVar("reused")
# Of a client's headers only these go upstream: no cookies, no keys, no account, no hop-by-hop headers.
FORWARDED = (b"user-agent", b"openai-beta")
# Of an upstream's headers only these go to the client: nothing of the operator's account or limits.
RETURNED = (b"openai-processing-ms", b"openai-version")


class UpstreamFailure(Exception):
    """A call that failed in a way that another channel may not. `outcome` is for the record, without secrets."""

    def __init__(
        self, outcome: str, *, status: int | None = None, timeout: bool = False, disconnected: bool = False
    ) -> None:
        super().__init__(outcome)
        self.disconnected = disconnected
        self.outcome = outcome
        self.status = status
        self.timeout = timeout


class _GuardedResolver(AbstractResolver):
    """Refuses names that resolve to private addresses: what is checked is what is connected to."""

    def __init__(self) -> None:
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        allowed = [answer for answer in found if netguard.is_public(answer["host"])]
        if not allowed:
            raise OSError(f"{host} has no public address")
        return allowed

    async def close(self) -> None:
        await self._inner.close()


class Upstreams:
    """The transports: one for public addresses only, one for channels that may use private ones."""

    def __init__(self) -> None:
        context = ssl.create_default_context()
        self._public = AiohttpTransport(client=_session(_GuardedResolver(), context), verify=context)
        self._private = AiohttpTransport(client=_session(None, context), verify=context)
        self._urls: dict[tuple[str, str, str], httpx.URL] = {}

    async def close(self) -> None:
        """Close every connection."""
        await self._public.aclose()
        await self._private.aclose()

    async def send(
        self, channel: ChannelInfo, *, dialect: str, body: bytes, headers: list[tuple[bytes, bytes]], silence: float
    ) -> httpx.Response:
        """POST a body to a channel; the answer's head, its body still to be read. Raises UpstreamFailure.

        Bounded by the channel's connect timeout, and by `silence` seconds without a byte; the first-byte timeout is
        the caller's, who knows what counts as one.
        """
        provider = PROVIDERS[channel.provider]
        request = httpx.Request(
            "POST",
            self._url(channel, dialect),
            headers=[
                *headers,
                *provider.headers(channel.credentials),
                (b"content-type", b"application/json"),
                (b"accept-encoding", b"identity"),
            ],
            content=body,
            extensions={
                "timeout": {
                    "connect": channel.connect_timeout,
                    "pool": channel.connect_timeout,
                    "read": silence,
                }
            },
        )
        transport = self._private if channel.allow_private_addresses else self._public
        reused = [False]
        _reused.set(reused)
        for _ in range(MAX_STALE):
            started = time.monotonic()
            try:
                return await transport.handle_async_request(request)
            except Exception as error:
                failure = failure_of(error)
                if not (reused[0] and failure.disconnected and time.monotonic() - started < STALE_SECONDS):
                    raise failure from error
                reused[0] = False
        raise UpstreamFailure("connection closed")

    def _url(self, channel: ChannelInfo, dialect: str) -> httpx.URL:
        key = (channel.provider, channel.base_url, dialect)
        url = self._urls.get(key)
        if url is None:
            try:
                url = httpx.URL(PROVIDERS[channel.provider].url(channel.base_url, dialect))
                assert url.host  # decoded only when asked for
            except (httpx.InvalidURL, ValueError) as error:
                raise UpstreamFailure("invalid URL") from error
            self._urls[key] = url
        return url


async def _note_reuse(*_: object) -> None:
    _reused.get()[0] = True


def _session(resolver: AbstractResolver | None, context: ssl.SSLContext) -> aiohttp.ClientSession:
    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(_note_reuse)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, resolver=resolver, keepalive_timeout=30, ssl=context),
        trace_configs=[trace],
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None),
    )


def failure_of(error: BaseException) -> UpstreamFailure:
    """What an exception of the transport means. The aiohttp cause decides: httpx's mapping calls too much a timeout."""
    if isinstance(error, UpstreamFailure):
        return error
    cause = error.__cause__ if isinstance(error, httpx.HTTPError) and error.__cause__ is not None else error
    if isinstance(cause, aiohttp.ServerTimeoutError | TimeoutError):
        kind = "connect timeout" if isinstance(cause, aiohttp.ConnectionTimeoutError) else "timeout"
        return UpstreamFailure(kind, timeout=True)
    if isinstance(cause, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return UpstreamFailure("TLS error")
    if isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ClientConnectorDNSError):
        return UpstreamFailure("cannot connect")
    if isinstance(cause, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError | OSError):
        return UpstreamFailure("connection closed", disconnected=True)
    return UpstreamFailure(f"transport error {type(cause).__name__}")


def forwarded_headers(headers: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """The client's headers that go upstream."""
    return [(name, headers[name]) for name in FORWARDED if name in headers]


def returned_headers(response: httpx.Response) -> list[tuple[bytes, bytes]]:
    """The upstream's headers that go to the client."""
    return [(name, value) for name, value in response.headers.raw if name.lower() in RETURNED]


def _content(response: httpx.Response) -> aiohttp.StreamReader:
    """aiohttp's own reader of a body: httpx's decode and count, which costs more than the relay does."""
    stream: Any = response.stream
    content: aiohttp.StreamReader = stream._aiohttp_response.content
    return content


def reader_of(response: httpx.Response) -> Callable[[], Awaitable[bytes]]:
    """A function that waits for more of the body: what has arrived, or b"" at its end. It raises aiohttp's errors."""
    return _content(response).readany


async def read_body(response: httpx.Response, limit: int) -> bytes:
    """The whole body, up to a limit. Raises UpstreamFailure."""
    parts: list[bytes] = []
    size = 0
    read = reader_of(response)
    try:
        while part := await read():
            parts.append(part)
            size += len(part)
            if size > limit:
                raise UpstreamFailure("answer too large")
    except UpstreamFailure:
        raise
    except Exception as error:
        raise failure_of(error) from error
    return b"".join(parts)


async def end(response: httpx.Response) -> None:
    """After a stream's last event: wait a moment for the body's own end, so that the connection can be kept."""
    content = _content(response)
    try:
        async with asyncio.timeout(END_SECONDS):
            while not content.at_eof() and await content.readany():
                pass
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass
    await close(response, whole=content.at_eof())


async def close(response: httpx.Response, *, whole: bool) -> None:
    """Give the connection back if the body was read whole; else close it, so that the upstream stops working."""
    stream: Any = response.stream
    if not whole:
        stream._aiohttp_response.close()
    try:
        await asyncio.shield(stream.aclose())
    except (httpx.HTTPError, aiohttp.ClientError, OSError):
        return
