"""Setting up: what `bootstrap` makes, what it leaves alone when it is called again, and the secrets before it."""

from __future__ import annotations

import json
import os
import stat
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from accounts.models import ApiKey, Organization, User
from accounts.selectors import key_by_digest
from accounts.services import create_user
from billing.models import LedgerEntry, Price, Wallet
from channels_app.models import CatalogueModel, Channel, ModelGroup
from channels_app.services import save_channel, save_group
from channels_app.snapshot import load
from costrouter.lib import crypto
from costrouter.lib.presets import PRESETS
from costrouter.lib.upstreams import KINDS
from costrouter.serve import secretfile
from costrouter.serve.database import migrate
from costrouter.setup import bootstrap as bootstrapping
from costrouter.setup.bootstrap import CannotBootstrap, bootstrap, sandbox_upstream
from costrouter.setup.demo import OPENAI_MODELS, demo, key_file, password_file

URL = "http://127.0.0.1:9500/v1"


def run(*arguments: str) -> dict[str, Any]:
    """`manage.py bootstrap --json`: the object, which is all that it prints."""
    out = StringIO()
    call_command("bootstrap", "--json", *arguments, stdout=out, stderr=StringIO())
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def channel(*more: str) -> tuple[str, ...]:
    return ("--upstream-url", URL, "--upstream-key", "secret-1", "--models", "alpha,beta", *more)


def key_of(found: dict[str, Any]) -> Any:
    return key_by_digest(crypto.key_digest(settings.KEY_HASH_SECRET, found["api_key"]))


def stored(made: Channel) -> str:
    return crypto.decrypt(settings.FIELD_ENCRYPTION_KEYS, made.credentials_encrypted)


def prices(model: str) -> list[dict[str, str]]:
    return list(Price.objects.filter(model_name=model).order_by("id").values_list("units", flat=True))


@pytest.mark.django_db
def test_first_call_makes_everything() -> None:
    found = run(*channel("--price-input", "0.15", "--price-output", "0.60", "--balance", "12.000000001"))
    admin = User.objects.get(email=settings.ADMIN_EMAIL)
    assert found["admin"]["username"] == settings.ADMIN_EMAIL
    assert admin.check_password(found["admin"]["password"])
    assert (admin.is_staff, admin.is_superuser) == (True, True)
    assert found["organization"]["name"] == "Main"
    assert found["balance_usd"] == "12.000000001"
    assert Wallet.objects.get(organization_id=found["organization"]["id"]).balance_nanos == 12_000_000_001
    key = key_of(found)
    assert key.organization_id == found["organization"]["id"]
    assert key.allowed_models == frozenset()
    made = Channel.objects.get(pk=found["channel"]["id"])
    assert (made.provider, made.base_url, made.allow_private_addresses) == ("openai_compatible", URL, True)
    assert crypto.decrypt(settings.FIELD_ENCRYPTION_KEYS, made.credentials_encrypted) == "secret-1"
    assert found["channel"]["models"] == ["alpha", "beta"]
    assert [group.name for group in made.groups.all()] == ["default"]
    assert prices("alpha") == prices("beta") == [{"input": "0.15", "output": "0.60"}]
    assert found["unpriced"] == []


@pytest.mark.django_db
def test_second_call_adds_and_keeps() -> None:
    first = run(*channel("--balance", "5", "--price-input", "1", "--price-output", "2"))
    second = run(
        "--upstream-url", URL + "/", "--models", "gamma", "--balance", "7", "--price-input", "3", "--price-output", "4"
    )
    assert second["admin"] == {"username": settings.ADMIN_EMAIL, "password": None}
    assert second["organization"] == first["organization"]
    # Models not yet served are a channel of their own, with the key there is.
    assert second["channel"]["id"] != first["channel"]["id"]
    assert (second["channel"]["base_url"], second["channel"]["models"]) == (URL, ["gamma"])
    assert list(Channel.objects.values_list("name", flat=True)) == [
        "OpenAI-compatible 127.0.0.1:9500",
        "OpenAI-compatible 127.0.0.1:9500 2",
    ]
    # The opening credit is given once, and the key that was there works on.
    assert second["balance_usd"] == "5.0"
    assert list(LedgerEntry.objects.values_list("kind", "amount_nanos")) == [("opening", 5_000_000_000)]
    assert second["api_key"] != first["api_key"]
    assert key_of(first).enabled
    assert key_of(first).group == key_of(second).group == "default"
    assert key_of(first).organization_id == key_of(second).organization_id
    assert [stored(made) for made in Channel.objects.all()] == ["secret-1", "secret-1"]
    assert prices("alpha") == [{"input": "1", "output": "2"}]
    assert prices("gamma") == [{"input": "3", "output": "4"}]
    assert Organization.objects.filter(is_personal=False).count() == 1


@pytest.mark.django_db
def test_the_same_call_again_makes_no_other_channel() -> None:
    first = run(*channel())
    again = run(*channel())
    some = run("--upstream-url", URL, "--models", "beta")
    more = run("--upstream-url", URL, "--models", "beta,gamma")
    assert again["channel"] == some["channel"] == first["channel"]
    assert (more["channel"]["id"], more["channel"]["models"]) == (first["channel"]["id"] + 1, ["beta", "gamma"])
    assert Channel.objects.count() == 2


@pytest.mark.django_db
def test_every_pair_is_a_channel_of_its_own() -> None:
    pairs = [
        ("openai_compatible", "", "chat"),
        ("openai_compatible", "responses", "responses"),
        ("openai_compatible", "anthropic,chat", "anthropic,chat"),
        ("openai", "", "responses,chat"),
        ("openai", "chat", "chat"),
        ("azure_openai", "", "responses,chat"),
        ("anthropic", "", "anthropic"),
        ("gemini", "", "gemini"),
        ("bedrock", "", "bedrock"),
        ("cohere", "", ""),
        ("jina", "", ""),
    ]
    made = []
    for number, (provider, dialects, effective) in enumerate(pairs):
        arguments = [
            "--provider",
            provider,
            "--upstream-url",
            URL,
            "--models",
            f"m{number}",
            "--upstream-key",
            f"k{number}",
        ]
        found = run(*arguments, *(["--dialects", dialects] if dialects else []))["channel"]
        assert (found["provider"], found["base_url"], found["models"]) == (provider, URL, [f"m{number}"])
        assert ",".join(found["dialects"]) == effective
        made.append(found["id"])
    assert len(set(made)) == len(pairs)
    assert [stored(Channel.objects.get(pk=number)) for number in made] == [f"k{number}" for number in range(len(pairs))]
    # The same model in another dialect is another channel; said again, it is the one there is.
    again = run("--upstream-url", URL, "--models", "m0", "--dialects", "responses")
    assert again["channel"]["id"] not in made
    assert run("--upstream-url", URL, "--models", "m0", "--dialects", "responses")["channel"] == again["channel"]
    assert run("--upstream-url", URL, "--models", "m0")["channel"]["id"] == made[0]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("provider", "url"),
    [
        ("openai", "https://api.openai.com/v1"),
        ("anthropic", "https://api.anthropic.com"),
        ("gemini", "https://generativelanguage.googleapis.com"),
        ("vertex", "https://aiplatform.googleapis.com"),
        ("cohere", "https://api.cohere.com"),
        ("jina", "https://api.jina.ai/v1"),
    ],
)
def test_a_hosted_provider_needs_no_url(provider: str, url: str) -> None:
    first = run("--provider", provider, "--models", "alpha")
    assert first["channel"]["base_url"] == url
    assert run("--provider", provider, "--upstream-url", url, "--models", "alpha")["channel"] == first["channel"]


@pytest.mark.django_db
def test_a_preset_gives_the_url() -> None:
    found = run("--preset", "deepseek", "--models", "deepseek-chat", "--upstream-key", "k")
    assert (found["channel"]["provider"], found["channel"]["base_url"]) == (
        "openai_compatible",
        "https://api.deepseek.com/v1",
    )


@pytest.mark.django_db
def test_a_service_accounts_file_is_kept_as_one_line() -> None:
    account = {"client_email": "a@b", "private_key": "-----BEGIN\nx", "project_id": "p", "token_uri": "https://t"}
    run("--provider", "vertex", "--models", "alpha", "--upstream-key", json.dumps(account, indent=2))
    assert "\n" not in stored(Channel.objects.get())
    assert json.loads(stored(Channel.objects.get())) == account


@pytest.mark.django_db
def test_prices_of_other_units() -> None:
    run("--upstream-url", URL, "--models", "painter", "--price", "images=0.04", "--price", "input=5")
    assert prices("painter") == [{"images": "0.04", "input": "5"}]
    # What is given changes, the rest stays.
    run("--upstream-url", URL, "--models", "painter", "--price", "images=0.05")
    assert prices("painter")[1:] == [{"images": "0.05", "input": "5"}]
    run("--upstream-url", URL, "--models", "painter", "--price-input", "1", "--price-output", "2", "--price", "calls=3")
    assert prices("painter")[2:] == [{"input": "1", "output": "2", "calls": "3"}]


@pytest.mark.django_db
def test_key_is_replaced_when_given() -> None:
    run(*channel())
    run("--upstream-url", URL, "--models", "gamma", "--upstream-key", "other")
    run("--upstream-url", URL, "--models", "alpha", "--upstream-key", "secret-2")
    assert [stored(made) for made in Channel.objects.order_by("id")] == ["secret-2", "other"]
    assert Channel.objects.earliest("id").served_models.count() == 2
    # Without models it is the key of all of them.
    run("--upstream-url", URL, "--upstream-key", "secret-3")
    assert [stored(made) for made in Channel.objects.all()] == ["secret-3", "secret-3"]


@pytest.mark.django_db
def test_key_reaches_a_channel_that_was_disabled_and_moved_away() -> None:
    first = run(*channel())
    made = Channel.objects.get()
    made.status = Channel.Status.DISABLED
    save_channel(channel=made, groups=[save_group(group=ModelGroup(name="vip"))])
    second = run("--upstream-url", URL, "--models", "alpha")
    (reached,) = load().by_model["alpha"]
    assert reached.enabled
    assert reached.groups == {"default", "vip"}
    assert {key_of(first).group, key_of(second).group} == {"default"}
    # Asked for again, nothing of that changes.
    run("--upstream-url", URL, "--models", "beta")
    assert load().by_model["alpha"][0].groups == {"default", "vip"}


@pytest.mark.django_db
def test_another_url_or_provider_is_another_channel() -> None:
    run(*channel())
    run("--upstream-url", "http://127.0.0.1:9501/v1", "--models", "alpha")
    run("--upstream-url", URL, "--provider", "openai", "--models", "alpha")
    assert sorted(Channel.objects.values_list("name", flat=True)) == [
        "OpenAI 127.0.0.1:9500",
        "OpenAI-compatible 127.0.0.1:9500",
        "OpenAI-compatible 127.0.0.1:9501",
    ]
    assert CatalogueModel.objects.filter(name="alpha").count() == 1


@pytest.mark.django_db
def test_price_is_appended_only_where_it_differs() -> None:
    run(*channel("--price-input", "0.15", "--price-output", "0.6"))
    run(*channel("--price-input", "0.150", "--price-output", "0.60"))
    assert prices("alpha") == [{"input": "0.15", "output": "0.6"}]
    run("--upstream-url", URL, "--models", "alpha", "--price-output", "0.7")
    assert prices("alpha") == [{"input": "0.15", "output": "0.6"}, {"input": "0.15", "output": "0.7"}]
    assert len(prices("beta")) == 1


@pytest.mark.django_db
def test_both_prices_say_all_there_is_to_say() -> None:
    Price.objects.create(model_name="alpha", units={"input": "1", "output": "2", "cache_read": "0.5"})
    run(*channel("--price-input", "1", "--price-output", "2"))
    assert prices("alpha")[-1] == {"input": "1", "output": "2"}


@pytest.mark.django_db
def test_known_model_gets_its_list_price_and_unknown_ones_are_named() -> None:
    found = run("--upstream-url", URL, "--models", "gpt-4o-mini,nobody-knows-this")
    assert found["unpriced"] == ["nobody-knows-this"]
    assert prices("gpt-4o-mini")[0]["input"] == "0.15"
    assert CatalogueModel.objects.get(name="gpt-4o-mini").context_window
    assert prices("nobody-knows-this") == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "model"),
    [
        (("--provider", "cohere"), "command-a"),
        (
            ("--provider", "bedrock", "--upstream-url", "https://bedrock-runtime.us-east-1.amazonaws.com"),
            "amazon.nova-pro-v1:0",
        ),
        (("--preset", "groq"), "llama-3.1-8b-instant"),
        (("--preset", "moonshot"), "kimi-k2.6"),
    ],
)
def test_models_of_no_known_maker_get_the_list_price_of_who_serves_them(arguments: tuple[str, ...], model: str) -> None:
    assert run(*arguments, "--models", model)["unpriced"] == []
    assert set(prices(model)[0]) >= {"input", "output"}


def test_whose_prices_are_those_of_the_data() -> None:
    from genai_prices.data import providers

    rows = [*KINDS.values(), *PRESETS.values()]
    assert {row.prices for row in rows if row.prices} <= {provider.id for provider in providers}


@pytest.mark.django_db
def test_without_upstream_the_channel_is_the_sandbox() -> None:
    found = run()
    again = run()
    assert found["channel"]["provider"] == "sandbox"
    assert found["channel"]["models"] == ["sandbox-fast", "sandbox-large", "sandbox-small"]
    assert again["channel"] == found["channel"]
    assert found["balance_usd"] == "0.0"
    assert prices("sandbox-small") == [{"input": "0.15", "output": "0.6"}]
    assert CatalogueModel.objects.get(name="sandbox-small").max_output == 16_384


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--upstream-url", URL), "--models is missing"),
        (("--provider", "openai_compatible", "--models", "a"), "--upstream-url is missing"),
        (("--provider", "bedrock", "--models", "a"), "e.g. https://bedrock-runtime"),
        (("--provider", "jina", "--models", "a", "--dialects", "chat"), "Jina speaks no conversation"),
        (("--provider", "vertex", "--models", "a", "--upstream-key", "sk-1"), "JSON of a service account"),
        (("--preset", "groq", "--upstream-url", URL, "--models", "a"), "--preset is"),
        (("--dialects", "chat"), "--dialects needs --upstream-url"),
        (channel("--price", "bananas=1"), "is no unit"),
        (channel("--price", "images"), "is not a number"),
        (("--models", "a"), "--models needs --upstream-url"),
        (("--balance=-1",), "must not be negative"),
        (("--balance", "0.0000000001"), "at most nine decimals"),
        (("--price-input", "1"), "--price-input needs --upstream-url"),
        (channel("--price-input", "1"), "give both"),
        (channel("--price-input", "nan", "--price-output", "1"), "finite"),
        (channel("--price-input=-1", "--price-output", "1"), "between 0"),
        (("--upstream-url", "ftp://x/v1", "--models", "a"), "http:// or https://"),
    ],
)
def test_nonsense_is_refused_and_nothing_is_written(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run(*arguments)
    assert not User.objects.exists()
    assert not Channel.objects.exists()
    assert not Wallet.objects.exists()


@pytest.mark.django_db
def test_somebody_else_with_the_email_is_not_promoted() -> None:
    create_user(email=settings.ADMIN_EMAIL, password=None)
    with pytest.raises(CannotBootstrap, match="already exists"):
        bootstrap(upstream=sandbox_upstream())
    assert not User.objects.filter(is_superuser=True).exists()


@pytest.mark.django_db
def test_existing_operator_is_the_administrator() -> None:
    other = create_user(email="boss@example.com", password=None, is_staff=True, is_superuser=True)
    found = bootstrap(upstream=sandbox_upstream())
    assert (found.admin, found.admin_password) == (other, None)
    assert User.objects.count() == 1


@pytest.mark.django_db
def test_demo_is_set_up_once(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.VAR_DIR = tmp_path
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    first = demo()
    assert first is not None
    assert key_file().read_text() == f"{first.api_key}\n"
    assert first.admin.check_password(password_file().read_text().strip())
    assert {stat.S_IMODE(path.stat().st_mode) for path in (key_file(), password_file())} == {0o600}
    assert Wallet.objects.get().balance_nanos == 10_000_000_000
    Channel.objects.all().delete()
    assert demo() is None
    # What an operator deleted stays deleted.
    assert not Channel.objects.exists()
    assert ApiKey.objects.count() == 1


@pytest.mark.django_db
def test_demo_makes_a_key_again_when_its_file_is_gone(tmp_path: Path, settings: Any) -> None:
    settings.VAR_DIR = tmp_path
    demo()
    key_file().write_text("sk-" + "x" * 48)
    again = demo()
    assert again is not None
    assert again.admin_password is None
    assert Wallet.objects.get().balance_nanos == 10_000_000_000


@pytest.mark.django_db
def test_demo_adds_openai_when_there_is_a_key(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.VAR_DIR = tmp_path
    demo()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    demo()
    demo()
    made = Channel.objects.get(provider="openai")
    assert made.base_url == "https://api.openai.com/v1"
    assert crypto.decrypt(settings.FIELD_ENCRYPTION_KEYS, made.credentials_encrypted) == "sk-openai"
    assert set(made.served_models.values_list("name", flat=True)) == set(OPENAI_MODELS)
    assert all(prices(name) for name in OPENAI_MODELS)
    assert ApiKey.objects.count() == 1


@pytest.mark.django_db
def test_human_text() -> None:
    out = StringIO()
    call_command("bootstrap", "--balance", "3", stdout=out)
    assert f"Administrator  {settings.ADMIN_EMAIL}" in out.getvalue()
    assert "balance 3.0 USD" in out.getvalue()
    assert "sk-" in out.getvalue()


def test_busy_database_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def work() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise OperationalError("database is locked")
        return "done"

    database = SimpleNamespace(vendor="sqlite", close=lambda: None)
    monkeypatch.setattr(bootstrapping, "connection", database)
    monkeypatch.setattr("costrouter.setup.bootstrap.time.sleep", lambda seconds: None)
    assert bootstrapping.retried(work) == "done"
    assert len(tries) == 3

    def hopeless() -> None:
        tries.append(1)
        raise OperationalError("database is locked")

    with pytest.raises(OperationalError):
        bootstrapping.retried(hopeless)
    assert len(tries) == 3 + bootstrapping.BUSY_TRIES
    database.vendor = "postgresql"
    with pytest.raises(OperationalError):
        bootstrapping.retried(hopeless)
    assert len(tries) == 4 + bootstrapping.BUSY_TRIES


def test_secrets_are_generated_once(tmp_path: Path) -> None:
    var_dir = tmp_path / "var"
    made = secretfile.write_missing(var_dir=var_dir, environment={})
    assert made == ["SECRET_KEY", "KEY_HASH_SECRET", "FIELD_ENCRYPTION_KEYS"]
    path = var_dir / "secrets.env"
    text = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(var_dir.stat().st_mode) == 0o700
    values = dict(line.split("=", 1) for line in text.splitlines() if not line.startswith("#"))
    assert len(values["SECRET_KEY"]) >= 50
    assert len(values["KEY_HASH_SECRET"]) >= 50
    Fernet(values["FIELD_ENCRYPTION_KEYS"])
    assert secretfile.write_missing(var_dir=var_dir, environment={}) == []
    assert path.read_text() == text


def test_only_missing_secrets_are_generated(tmp_path: Path) -> None:
    (tmp_path / "secrets.env").write_text("PORT=9000\nSECRET_KEY=mine")
    made = secretfile.write_missing(var_dir=tmp_path, environment={"KEY_HASH_SECRET": "given"})
    assert made == ["FIELD_ENCRYPTION_KEYS"]
    lines = (tmp_path / "secrets.env").read_text().splitlines()
    assert lines[:2] == ["PORT=9000", "SECRET_KEY=mine"]
    assert len(lines) == 3


def mode_of_existing(folder: Path, mode: int) -> int:
    """The permissions of a folder that was there, after it has been made the VAR_DIR."""
    folder.mkdir(exist_ok=True)
    folder.chmod(mode)
    secretfile.make_var_dir(folder)
    return stat.S_IMODE(folder.stat().st_mode)


def test_existing_folder_is_tightened_if_it_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mode_of_existing(tmp_path / "var", 0o755) == 0o700
    assert mode_of_existing(tmp_path / "var", 0o500) == 0o500
    # What is made for sharing stays shared, and what is somebody else's is not ours to close.
    assert mode_of_existing(tmp_path / "tmp", 0o1777) == 0o1777
    monkeypatch.setattr("costrouter.serve.secretfile.os.geteuid", lambda: os.getuid() + 1)
    assert mode_of_existing(tmp_path / "var", 0o755) == 0o755


@pytest.mark.django_db
def test_database_of_the_embedded_default_is_private(tmp_path: Path, settings: Any) -> None:
    settings.VAR_DIR = tmp_path / "var"
    settings.VAR_DIR.mkdir(mode=0o755)
    migrate(out=StringIO())
    private = connection.vendor == "sqlite"
    assert stat.S_IMODE(settings.VAR_DIR.stat().st_mode) == (0o700 if private else 0o755)
