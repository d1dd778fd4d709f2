"""Which network addresses a request may go to, and which client an address list admits."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def is_public(address: str) -> bool:
    """Whether an IP address is out on the internet: not private, loopback, link-local (cloud metadata), or reserved."""
    ip: Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        # An IPv4 address inside IPv6 is as private as itself.
        embedded = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None) or _translated(ip)
        if embedded is not None:
            return is_public(str(embedded))
        if ip.is_site_local or ip in _LOCAL_NAT64:
            return False
    return ip.is_global and not ip.is_multicast


# Translation inside a network, to addresses of its own choice (RFC 8215).
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
# NAT64 (RFC 6052), and addresses once called IPv4-compatible (RFC 4291, 2.5.5.1).
_WITH_IPV4 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))


def _translated(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address in the last 32 bits of an IPv6 address that stands for one."""
    if any(ip in network for network in _WITH_IPV4):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return None


def literal_address(host: str) -> str | None:
    """`host` if it is an IP address written out (brackets allowed), else None: a name that must be resolved."""
    try:
        return str(ipaddress.ip_address(host.strip("[]").partition("%")[0]))
    except ValueError:
        return None


# A host that ends in a number is an address to some (WHATWG URL, "ends in a number"): 127.1, 0x7f000001, 2130706433.
_NUMBER = re.compile(r"\d+|0[xX][0-9a-fA-F]*")


def url_problem(url: str, *, allow_private: bool) -> str | None:
    """Why an operator's upstream URL cannot be used, or None. Names are checked again when they are resolved."""
    parts = urlsplit(url)
    try:
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme not in ("http", "https") or not host:
        return "must be an http:// or https:// URL"
    if parts.username or parts.password:
        return "must not contain a user name or password; put the key into the credentials"
    if parts.query or parts.fragment:
        return "must not contain a query or a fragment"
    if allow_private:
        return None
    literal = literal_address(host)
    if literal is None and _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        return "is an address in a form that programs read differently; write it out"
    if literal is None and (host == "localhost" or host.endswith((".localhost", ".local", ".internal"))):
        return "is a private name; allow private addresses on this channel to use it"
    if literal is not None and not is_public(literal):
        return "is a private address; allow private addresses on this channel to use it"
    return None


@lru_cache(maxsize=4096)
def _network(text: str) -> Network:
    return ipaddress.ip_network(text.strip(), strict=False)


def networks_problem(texts: Iterable[object]) -> str | None:
    """Why a list of addresses and networks is not one, or None."""
    for text in texts:
        try:
            _network(str(text))
        except ValueError as error:
            return str(error)
    return None


def is_within(address: str, networks: Sequence[str]) -> bool:
    """Whether an address is in one of `networks` (addresses or CIDR blocks). What is no address is in none."""
    try:
        ip: Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip in network for network in map(_network, networks) if network.version == ip.version)


def client_address(peer: str, forwarded_for: str, trusted_proxies: Sequence[str]) -> str:
    """The client's address: the peer's, or behind trusted proxies the last `X-Forwarded-For` entry that is not one."""
    if not trusted_proxies or not is_within(peer, trusted_proxies):
        return peer
    client = peer
    for hop in reversed([part.strip() for part in forwarded_for.split(",") if part.strip()]):
        client = hop
        if not is_within(hop, trusted_proxies):
            break
    return client
