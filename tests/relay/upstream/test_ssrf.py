"""Where a channel may lead: never to a private address unless an operator said so, never on to where it points."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
import pytest
from django.core.exceptions import ValidationError
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from channels_app.models import Channel
from channels_app.services import save_channel, touch_channel
from costrouter.lib import netguard
from relay.upstream import connections as upstream_module
from tests.doubles.upstream import Reply, Upstream, ask

pytestmark = pytest.mark.any_database

CHAT = "/v1/chat/completions"
PRIVATE = [
    "127.0.0.1",
    "127.8.9.10",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fc00::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::8.8.8.8",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::8.8.8.8", "2002:808:808::1", "::ffff:8.8.8.8"]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_never_public(address):
    assert not netguard.is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_public(address):
    assert netguard.is_public(address)


def test_a_zone_does_not_hide_an_address():
    assert not netguard.is_public("fe80::1%eth0")


@pytest.mark.parametrize("address", PRIVATE)
def test_a_url_with_a_private_address_is_refused_when_it_is_saved(world, address):
    host = f"[{address}]" if ":" in address else address
    channel = Channel(name="evil", base_url=f"http://{host}/v1")
    with pytest.raises(ValidationError):
        save_channel(channel=channel, credentials="sk-x", groups=[world.group])
    assert not Channel.objects.exists()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1", "0177.0.0.1"])
def test_an_address_that_no_service_has_checked_is_not_called(world, upstream, relay, client, address):
    """The row was written by other means: the snapshot checks again."""
    channel = world.new_channel(upstream.url)
    url = upstream.url.replace("127.0.0.1", address)
    Channel.objects.filter(pk=channel.pk).update(allow_private_addresses=False, base_url=url)
    touch_channel(channel=channel)
    relay.settled_down()
    response = client.post(CHAT, json=ask())
    assert (response.status_code, response.json()["error"]["code"]) == (503, "no_channel")
    assert upstream.seen == []
    world.prove()


def test_a_url_that_cannot_be_read_is_a_failure_of_its_channel(world, upstream, relay, client):
    channel = world.new_channel(upstream.url)
    Channel.objects.filter(pk=channel.pk).update(base_url="http://xn--a/v1")
    touch_channel(channel=channel)
    relay.settled_down()
    assert client.post(CHAT, json=ask()).status_code == 502
    assert world.record().attempts[0]["outcome"] == "invalid URL"
    world.prove()


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.1.", "1.2.3.0x4"])
def test_an_address_in_disguise_is_refused_when_it_is_saved(world, host):
    with pytest.raises(ValidationError):
        save_channel(channel=Channel(name="evil", base_url=f"http://{host}/v1"), credentials="", groups=[world.group])


@pytest.fixture
def resolving(monkeypatch):
    """Every name leads to what a test says."""
    answers: list[str] = []

    async def resolve(self, host, port=0, family=socket.AF_INET):
        return [
            {"hostname": host, "host": address, "port": port, "family": family, "proto": 0, "flags": 0}
            for address in answers
        ]

    monkeypatch.setattr(aiohttp.resolver.ThreadedResolver, "resolve", resolve)
    return answers


@pytest.mark.parametrize("stream", [False, True])
def test_a_name_that_leads_to_a_private_address_is_not_called(world, upstream, relay, client, resolving, stream):
    resolving.append("127.0.0.1")
    port = upstream.url.split(":")[2].removesuffix("/v1")
    channel = Channel(name="evil", base_url=f"http://metadata.example:{port}/v1")
    save_channel(channel=channel, credentials="sk-x", groups=[world.group], models={world.model: ""})
    relay.settled_down()

    response = client.post(CHAT, json=ask(stream=stream))

    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_error")
    assert "127.0.0.1" not in response.text
    assert upstream.seen == []
    assert world.record().attempts[0]["outcome"] == "cannot connect"
    assert world.prove()["charged_nanos"] == 0


def test_with_permission_the_same_name_is_called(world, upstream, relay, client, resolving):
    resolving.append("127.0.0.1")
    port = upstream.url.split(":")[2].removesuffix("/v1")
    world.new_channel(f"http://inside.example:{port}/v1")
    relay.settled_down()
    assert client.post(CHAT, json=ask()).status_code == 200
    assert upstream.seen[0].headers["host"] == f"inside.example:{port}"
    world.prove()


def test_of_several_addresses_only_public_ones_are_connected_to(resolving):
    resolving += ["10.0.0.1", "8.8.8.8", "::1"]

    async def resolve():
        return await upstream_module._GuardedResolver().resolve("mixed.example", 443)

    assert [answer["host"] for answer in asyncio.run(resolve())] == ["8.8.8.8"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(world, upstream, relay, client, status):
    world.new_channel(upstream.url)
    relay.settled_down()
    upstream.script.append(Reply([], status, headers={"location": f"{upstream.url}/elsewhere"}))
    response = client.post(CHAT, json=ask())
    assert (response.status_code, len(upstream.seen)) == (502, 1)
    assert "location" not in response.headers
    assert world.record().attempts[0]["outcome"] == f"status {status}"
    assert world.prove()["charged_nanos"] == 0


def test_a_websockets_redirect_is_not_followed(world, upstream, relay):
    elsewhere = Upstream().start()
    try:
        model = world.new_model("voice-1", input="4", output="16")
        world.new_channel(upstream.url, models={model: ""}, provider="azure_openai")
        relay.settled_down()
        upstream.script.append(Reply([], 302, headers={"location": f"{elsewhere.url}/realtime"}))
        with pytest.raises(InvalidStatus) as refused:
            connect(
                relay.url.replace("http", "ws") + "/v1/realtime?model=voice-1",
                additional_headers={"authorization": f"Bearer {world.secret}"},
            )
    finally:
        elsewhere.stop()
    assert refused.value.response.status_code == 502
    assert elsewhere.seen == []  # it would have been told the channel's `api-key`
    assert world.record().attempts[0]["outcome"] == "status 302"
