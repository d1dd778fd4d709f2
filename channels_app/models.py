"""Where requests go: upstream channels, the catalogue of models, and model groups."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from accounts.models import Organization
from costrouter.lib.upstreams import KINDS


class Provider(models.TextChoices):
    """The kinds of upstream: rows of `costrouter.lib.upstreams.KINDS`, each a file in `relay/upstream/providers/`."""

    OPENAI_COMPATIBLE = "openai_compatible", KINDS["openai_compatible"].label
    OPENAI = "openai", KINDS["openai"].label
    AZURE_OPENAI = "azure_openai", KINDS["azure_openai"].label
    ANTHROPIC = "anthropic", KINDS["anthropic"].label
    GEMINI = "gemini", KINDS["gemini"].label
    VERTEX = "vertex", KINDS["vertex"].label
    BEDROCK = "bedrock", KINDS["bedrock"].label
    COHERE = "cohere", KINDS["cohere"].label
    JINA = "jina", KINDS["jina"].label
    MINIMAX = "minimax", KINDS["minimax"].label
    SANDBOX = "sandbox", KINDS["sandbox"].label


class ModelGroup(models.Model):
    """A set of channels and the rate at which their use is charged. A key is in one group."""

    name = models.SlugField(max_length=50, unique=True)
    description = models.CharField(max_length=200, blank=True)
    rate = models.DecimalField(
        max_digits=8,
        decimal_places=4,
        default=Decimal("1"),
        validators=[MinValueValidator(Decimal("0"))],
        help_text="What a model's price is multiplied by for keys of this group. 1 is the list price.",
    )
    is_public = models.BooleanField(
        "public", default=True, help_text="Off: only the organizations named below may use it."
    )
    organizations: Any = models.ManyToManyField(Organization, blank=True, related_name="model_groups")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


def text_only() -> list[str]:
    return ["text"]


class CatalogueModel(models.Model):
    """A model that clients may name. Channels say who serves it; prices (in billing) say what it costs."""

    name = models.CharField(max_length=150, unique=True, help_text="What clients send as `model`.")
    display_name = models.CharField(max_length=150, blank=True)
    owned_by = models.CharField(max_length=100, blank=True, help_text="Shown in the list of models.")
    context_window = models.PositiveIntegerField(
        null=True, blank=True, help_text="Tokens. Bounds what a request can cost. Empty: unknown."
    )
    max_output = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Tokens. Bounds what an answer can cost. Empty: the context window, else 32,768.",
    )
    input_modalities = models.JSONField(default=text_only, blank=True, help_text="Of text, image, audio, file.")
    output_modalities = models.JSONField(default=text_only, blank=True, help_text="Of text, image, audio.")
    image_allowance = models.PositiveIntegerField(default=4_096, help_text="Tokens held for each image in a request.")
    audio_allowance = models.PositiveIntegerField(default=8_192, help_text="Tokens held for each audio part.")
    file_allowance = models.PositiveIntegerField(default=65_536, help_text="Tokens held for each file part.")
    hidden_reasoning = models.BooleanField(
        default=False,
        help_text="It reasons without showing it. A stream whose client goes away is then read to its end, "
        "since only the final usage tells what was spent.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["name"]
        verbose_name = "model"

    def __str__(self) -> str:
        return self.name


def _seconds(default: float, help_text: str) -> Any:
    return models.FloatField(
        default=default, validators=[MinValueValidator(0.1), MaxValueValidator(3600)], help_text=help_text
    )


class Channel(models.Model):
    """One upstream account: where to send requests, with whose credentials, for which models."""

    class Status(models.TextChoices):
        ENABLED = "enabled"
        DISABLED = "disabled"

    name = models.CharField(max_length=100, unique=True)
    provider = models.CharField(max_length=30, choices=Provider, default=Provider.OPENAI_COMPATIBLE)
    base_url = models.CharField(
        "base URL",
        max_length=500,
        blank=True,
        help_text="What the provider's own SDK takes as base URL: with /v1 for OpenAI kinds, without for Anthropic and "
        "Gemini. Empty: the provider's own service, where it has one; always for the sandbox.",
    )
    dialects = models.JSONField(
        default=list,
        blank=True,
        help_text="What conversations it is asked in, the best first; clients may speak any. Empty: as its provider.",
    )
    credentials_encrypted = models.TextField(blank=True, editable=False)
    status = models.CharField(max_length=10, choices=Status, default=Status.ENABLED)
    priority = models.IntegerField(default=0, help_text="Channels of the highest priority are tried first.")
    weight = models.PositiveIntegerField(
        default=1, validators=[MaxValueValidator(10_000)], help_text="Share of the requests within its priority."
    )
    groups: Any = models.ManyToManyField(ModelGroup, related_name="channels")
    served_models: Any = models.ManyToManyField(CatalogueModel, through="ChannelModel", related_name="channels")
    connect_timeout = _seconds(10, "Seconds to connect.")
    first_byte_timeout = _seconds(120, "Seconds until a stream's first event; after that another channel is tried.")
    answer_timeout = _seconds(600, "Seconds until the whole of an answer that is not streamed.")
    idle_timeout = _seconds(300, "Seconds a stream may be silent, or its client not read, before it is cut.")
    cost_multiplier = models.DecimalField(
        max_digits=8,
        decimal_places=4,
        default=Decimal("1"),
        validators=[MinValueValidator(Decimal("0"))],
        help_text="What this upstream charges you, as a share of the model's list price.",
    )
    allow_private_addresses = models.BooleanField(
        "may use private addresses",
        default=False,
        help_text="For a server on your own network. Leave off for anything on the internet.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-priority", "name"]
        permissions = [("export_credentials", "Can export channels with their credentials in clear")]

    def __str__(self) -> str:
        return self.name


class ChannelModel(models.Model):
    """A model that a channel serves."""

    channel = models.ForeignKey(Channel, models.CASCADE, related_name="channel_models")
    model = models.ForeignKey(CatalogueModel, models.CASCADE, related_name="channel_models")
    upstream_name = models.CharField(
        max_length=200, blank=True, help_text="The model's name at this upstream. Empty: the same name."
    )

    class Meta:
        ordering = ["model__name"]
        constraints = [models.UniqueConstraint(fields=["channel", "model"], name="one_entry_per_channel_and_model")]

    def __str__(self) -> str:
        return f"{self.model} on {self.channel}"


class ChannelHealth(models.Model):
    """How a channel has done lately, as web processes tell every few seconds. Never part of the routing snapshot."""

    channel = models.OneToOneField(Channel, models.CASCADE, primary_key=True, related_name="health")
    last_ok_at = models.DateTimeField(null=True)
    last_failure_at = models.DateTimeField(null=True)
    failures_in_row = models.PositiveIntegerField(default=0, help_text="Attempts that failed since the last success.")
    recent = models.JSONField(
        default=list, help_text="The latest failures, newest first, at most ten: at, outcome, model."
    )
    last_test_at = models.DateTimeField(null=True, help_text="When an operator last tested it.")
    last_test_ok = models.BooleanField(null=True)
    last_test_detail = models.CharField(max_length=300, blank=True)

    class Meta:
        default_permissions = ("view",)
        verbose_name_plural = "channel health"

    def __str__(self) -> str:
        return f"Health of {self.channel}"


class ChannelHour(models.Model):
    """Attempts of a channel in an hour (UTC), those that another channel made good too."""

    channel = models.ForeignKey(Channel, models.CASCADE, related_name="hours")
    hour = models.DateTimeField()
    attempts = models.BigIntegerField(default=0)
    failures = models.BigIntegerField(default=0)
    milliseconds = models.BigIntegerField(default=0, help_text="The sum over attempts that did not fail.")

    class Meta:
        default_permissions = ("view",)
        constraints = [models.UniqueConstraint(fields=["channel", "hour"], name="one_row_per_channel_and_hour")]

    def __str__(self) -> str:
        return f"{self.channel_id} at {self.hour:%Y-%m-%d %H:00}"
