"""Calls to upstreams: one pooled session a process, guarded addresses, and a plain account of what went wrong."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
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
# Of a client's headers only these go upstream: no cookies, no keys, no account, no hop-by-hop headers.
FORWARDED = (b"user-agent", b"openai-beta")
# Of an upstream's headers only these go to the client: nothing of the operator's account or limits.
RETURNED = (b"openai-processing-ms", b"openai-version")


class UpstreamFailure(Exception):
    """A call that failed in a way that another channel may not. `outcome` is for the record, without secrets."""

    def __init__(self, outcome: str, *, status: int | None = None, timeout: bool = False) -> None:
        super().__init__(outcome)
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
        self._public = AiohttpTransport(client=_session(_GuardedResolver()))
        self._private = AiohttpTransport(client=_session(None))
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
        try:
            return await transport.handle_async_request(request)
        except Exception as error:
            raise failure_of(error) from error

    def _url(self, channel: ChannelInfo, dialect: str) -> httpx.URL:
        key = (channel.provider, channel.base_url, dialect)
        url = self._urls.get(key)
        if url is None:
            url = self._urls[key] = httpx.URL(PROVIDERS[channel.provider].url(channel.base_url, dialect))
        return url


def _session(resolver: AbstractResolver | None) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, resolver=resolver, keepalive_timeout=30),
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
        return UpstreamFailure("connection closed")
    return UpstreamFailure(f"transport error {type(cause).__name__}")


def forwarded_headers(headers: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """The client's headers that go upstream."""
    return [(name, headers[name]) for name in FORWARDED if name in headers]


def returned_headers(response: httpx.Response) -> list[tuple[bytes, bytes]]:
    """The upstream's headers that go to the client."""
    return [(name, value) for name, value in response.headers.raw if name.lower() in RETURNED]


def body_of(response: httpx.Response) -> AsyncIterator[bytes]:
    """The body as it arrives. Reads the transport's stream itself: httpx's own readers decode and count."""
    stream: Any = response.stream
    iterator: AsyncIterator[bytes] = stream.__aiter__()
    return iterator


async def read_body(response: httpx.Response, limit: int) -> bytes:
    """The whole body, up to a limit. Raises UpstreamFailure."""
    parts: list[bytes] = []
    size = 0
    try:
        async for part in body_of(response):
            parts.append(part)
            size += len(part)
            if size > limit:
                raise UpstreamFailure("answer too large")
    except UpstreamFailure:
        raise
    except Exception as error:
        raise failure_of(error) from error
    return b"".join(parts)


async def close(response: httpx.Response, *, whole: bool) -> None:
    """Give the connection back if the body was read whole; else close it, so that the upstream stops working."""
    stream: Any = response.stream
    if not whole:
        stream._aiohttp_response.close()
    try:
        await asyncio.shield(stream.aclose())
    except (httpx.HTTPError, aiohttp.ClientError, OSError):
        return
