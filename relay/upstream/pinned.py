"""A connection off the hot path, for one call: plain httpx, synchronous, pinned to an address that was checked.

The host is resolved here, every address of it is checked, and the connection goes to the checked address: a name that
changes its mind between check and connect reaches nothing. Redirects are not followed.
"""

from __future__ import annotations

import socket

import httpx

from costrouter.lib import netguard


class RefusedAddress(Exception):
    """The host leads to an address that this channel may not use."""


class PinnedTransport(httpx.HTTPTransport):
    """Connects to an address that has been checked, while `Host` and the TLS name stay the URL's own."""

    def __init__(self, *, allow_private: bool) -> None:
        super().__init__(trust_env=False)
        self._allow_private = allow_private

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url, host = request.url, request.url.host
        first, *others = checked_addresses(host, url.port or 0, allow_private=self._allow_private)
        request.extensions = {**request.extensions, "sni_hostname": host}
        request.url = url.copy_with(host=first)
        try:
            return super().handle_request(request)
        except httpx.ConnectError:
            # Often an IPv6 address on a machine without IPv6. Nothing was sent.
            other = next((address for address in others if (":" in address) != (":" in first)), None)
            if other is None:
                raise
        request.url = url.copy_with(host=other)
        return super().handle_request(request)


def checked_addresses(host: str, port: int, *, allow_private: bool) -> list[str]:
    """The addresses of `host`, all known to be allowed; at least one. Raises RefusedAddress, OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    if not allow_private:
        for address in addresses:
            if not netguard.is_public(address):
                raise RefusedAddress(
                    f"{host} leads to {address}, a private address. Allow private addresses on this channel to use it."
                )
    return addresses


def pinned_client(transport: httpx.HTTPTransport, timeout: httpx.Timeout) -> httpx.Client:
    """A client that follows no redirects and no proxy of the environment."""
    return httpx.Client(transport=transport, timeout=timeout, follow_redirects=False, trust_env=False)
