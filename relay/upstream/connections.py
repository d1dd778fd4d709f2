"""Calls to upstreams: one pooled session a process, guarded addresses, and a plain account of what went wrong."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

import aiohttp
import yarl
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from multidict import CIMultiDict

from channels_app.snapshot import ChannelInfo
from costrouter.lib import netguard
from relay.upstream.providers import PROVIDERS
from relay.upstream.providers.base import Call

# An upstream's error is read up to here; a model's whole answer up to MAX_ANSWER_BYTES.
MAX_ERROR_BYTES = 256 * 1024
MAX_ANSWER_BYTES = 256 * 1024 * 1024
# A kept connection that the upstream had closed meanwhile fails at once, and says nothing of the channel: the request
# is sent again on another connection of the same channel. Later than this, the upstream may have worked on it.
STALE_SECONDS, MAX_STALE = 1.0, 10
# After its last event a stream has this long to end properly, so that its connection can be kept.
END_SECONDS = 1.0
# How often a websocket is asked whether it still lives.
HEARTBEAT_SECONDS = 30.0
# URLs and headers kept: one a channel, dialect, model and action.
MAX_PREPARED = 10_000
_reused: ContextVar[list[bool]] = ContextVar("reused")
# Of a client's headers only these go upstream: no cookies, no keys, no account, no hop-by-hop headers.
FORWARDED = (b"user-agent",)
# And these, to an upstream that speaks the dialect they belong to.
FORWARDED_WITHIN = {
    "chat": (b"openai-beta",),
    "responses": (b"openai-beta",),
    "anthropic": (b"anthropic-version", b"anthropic-beta"),
    "anthropic_count": (b"anthropic-version", b"anthropic-beta"),
}
# Of an upstream's headers only these go to the client: nothing of the operator's account or limits.
RETURNED = ("openai-processing-ms", "openai-version")


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


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What every request to a channel has in common."""

    channel: ChannelInfo
    url: yarl.URL
    headers: CIMultiDict[str]
    sign: Callable[[str, str, str, bytes], list[tuple[bytes, bytes]]] | None


class Upload(Protocol):
    """A body that is streamed, and can be sent again: `length` bytes of `content_type`."""

    content_type: str
    length: int

    def chunks(self) -> AsyncIterator[bytes]:
        """The body from its beginning."""


class Upstreams:
    """The sessions: one for public addresses only, one for channels that may use private ones."""

    def __init__(self) -> None:
        context = ssl.create_default_context()
        self._public = _session(_GuardedResolver(), context)
        self._private = _session(None, context)
        self._prepared: dict[tuple[int, Call], _Prepared] = {}
        self._timeouts: dict[tuple[float, float | None], aiohttp.ClientTimeout] = {}

    async def close(self) -> None:
        """Close every connection."""
        await self._public.close()
        await self._private.close()

    async def send(
        self,
        channel: ChannelInfo,
        call: Call,
        *,
        body: bytes | Upload,
        headers: list[tuple[str, str]],
        silence: float | None,
        method: str = "POST",
    ) -> aiohttp.ClientResponse:
        """Send a body to a channel; the answer's head, its body still to be read. Raises UpstreamFailure.

        Bounded by the channel's connect timeout, and by `silence` seconds without a byte (None: the caller minds).
        The first-byte timeout is the caller's, who knows what counts as one.
        """
        prepared = self._prepare(channel, call)
        sent = prepared.headers
        if headers:
            sent = sent.copy()
            sent.update(headers)
        if prepared.sign is not None:
            assert isinstance(body, bytes)  # what is signed is never uploaded in parts
            sent = sent.copy()
            try:
                signed = prepared.sign(channel.credentials, method, str(prepared.url), body)
            except ValueError as error:
                raise UpstreamFailure("unusable credentials") from error
            sent.update((name.decode(), value.decode()) for name, value in signed)
        if not isinstance(body, bytes):
            sent = sent.copy()
            sent.update({"content-type": body.content_type, "content-length": str(body.length)})
        elif not body:
            sent = sent.copy()
            sent.pop("content-type")
        session = self._private if channel.allow_private_addresses else self._public
        timeout = self._timeout(channel.connect_timeout, silence)
        reused = [False]
        _reused.set(reused)
        for _ in range(MAX_STALE):
            started = time.monotonic()
            try:
                data = (body or None) if isinstance(body, bytes) else body.chunks()
                return await session.request(
                    method, prepared.url, data=data, headers=sent, timeout=timeout, allow_redirects=False
                )
            except Exception as error:
                failure = failure_of(error)
                if not (reused[0] and failure.disconnected and time.monotonic() - started < STALE_SECONDS):
                    raise failure from error
                reused[0] = False
        raise UpstreamFailure("connection closed")

    async def fetch(
        self, channel: ChannelInfo, url: str, *, headers: list[tuple[str, str]], silence: float | None
    ) -> aiohttp.ClientResponse:
        """Get what an upstream's answer points to: without its credentials, and only where the channel may go."""
        if netguard.url_problem(url.partition("?")[0], allow_private=channel.allow_private_addresses) is not None:
            raise UpstreamFailure("a link that may not be followed")
        session = self._private if channel.allow_private_addresses else self._public
        sent = CIMultiDict({"accept-encoding": "identity"})
        sent.update(headers)
        _reused.set([False])
        timeout = self._timeout(channel.connect_timeout, silence)
        try:
            return await session.get(yarl.URL(url, encoded=True), headers=sent, timeout=timeout, allow_redirects=False)
        except Exception as error:
            raise failure_of(error) from error

    async def connect(
        self, channel: ChannelInfo, call: Call, *, headers: list[tuple[str, str]], max_bytes: int
    ) -> aiohttp.ClientWebSocketResponse:
        """Open a websocket to a channel. Raises UpstreamFailure."""
        prepared = self._prepare(channel, call)
        sent = prepared.headers.copy()
        sent.popall("content-type", None)
        sent.update(headers)
        session = self._private if channel.allow_private_addresses else self._public
        try:
            async with asyncio.timeout(channel.first_byte_timeout):
                return await session.ws_connect(
                    prepared.url, headers=sent, max_msg_size=max_bytes, heartbeat=HEARTBEAT_SECONDS
                )
        except aiohttp.WSServerHandshakeError as error:
            raise UpstreamFailure(f"status {error.status}", status=error.status) from error
        except Exception as error:
            raise failure_of(error) from error

    def _prepare(self, channel: ChannelInfo, call: Call) -> _Prepared:
        found = self._prepared.get((channel.id, call))
        if found is not None and found.channel is channel:
            return found
        provider = PROVIDERS[channel.provider]
        try:
            url = yarl.URL(provider.url_of(call), encoded=provider.url is not None)
            if not url.host:
                raise ValueError("no host")
        except ValueError as error:
            raise UpstreamFailure("invalid URL") from error
        headers = CIMultiDict({"content-type": "application/json", "accept-encoding": "identity"})
        headers.extend((name.decode(), value.decode()) for name, value in provider.headers_of(call))
        if len(self._prepared) >= MAX_PREPARED:
            self._prepared.clear()
        prepared = self._prepared[channel.id, call] = _Prepared(channel, url, headers, provider.sign)
        return prepared

    def _timeout(self, connect: float, silence: float | None) -> aiohttp.ClientTimeout:
        found = self._timeouts.get((connect, silence))
        if found is None:
            found = self._timeouts[connect, silence] = aiohttp.ClientTimeout(
                total=None, connect=connect, sock_connect=connect, sock_read=silence
            )
        return found


async def _note_reuse(*_: object) -> None:
    _reused.get()[0] = True


async def _refuse_redirect(_: object, __: object, params: aiohttp.TraceRequestRedirectParams) -> None:
    """A websocket's handshake would follow one, with the channel's credentials, wherever it leads."""
    params.response.close()
    raise UpstreamFailure(f"status {params.response.status}", status=params.response.status)


def _session(resolver: AbstractResolver | None, context: ssl.SSLContext) -> aiohttp.ClientSession:
    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(_note_reuse)
    trace.on_request_redirect.append(_refuse_redirect)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, resolver=resolver, keepalive_timeout=30, ssl=context),
        trace_configs=[trace],
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None),
    )


def failure_of(cause: BaseException) -> UpstreamFailure:
    """What an exception of a call means."""
    if isinstance(cause, UpstreamFailure):
        return cause
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


def forwarded_headers(headers: dict[bytes, bytes], dialect: str) -> list[tuple[str, str]]:
    """The client's headers that go to an upstream that is asked in this dialect, where it is the client's own."""
    names = (*FORWARDED, *FORWARDED_WITHIN.get(dialect, ()))
    return [(name.decode(), headers[name].decode("ascii", "ignore")) for name in names if name in headers]


def returned_headers(response: aiohttp.ClientResponse) -> list[tuple[bytes, bytes]]:
    """The upstream's headers that go to the client."""
    found = response.headers
    return [(name.encode(), found[name].encode("ascii", "ignore")) for name in RETURNED if name in found]


async def read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The whole body, up to a limit. Raises UpstreamFailure."""
    parts: list[bytes] = []
    size = 0
    read = response.content.readany
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


async def end(response: aiohttp.ClientResponse) -> None:
    """After a stream's last event: wait a moment for the body's own end, so that the connection can be kept."""
    content = response.content
    try:
        async with asyncio.timeout(END_SECONDS):
            while not content.at_eof() and await content.readany():
                pass
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass
    close(response, whole=content.at_eof())


def close(response: aiohttp.ClientResponse, *, whole: bool) -> None:
    """Give the connection back if the body was read whole; else close it, so that the upstream stops working."""
    if whole:
        response.release()
    else:
        response.close()
