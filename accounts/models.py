"""Who uses CostRouter: users, organizations (the tenants), memberships, API keys; and the configuration's version."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.core.validators import MinValueValidator
from django.db import models
from django.utils import timezone
from django.utils.module_loading import import_string


class UserManager(BaseUserManager["User"]):
    """Django's commands create users through this; everything else through `accounts.services`."""

    def create_superuser(self, email: str, password: str | None = None, **extra: Any) -> User:
        # Services stand on models: found by name, so that no model imports one.
        made: User = import_string("accounts.services.create_user")(
            email=email, password=password, is_staff=True, is_superuser=True, **extra
        )
        return made

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email__iexact=username)


class User(AbstractBaseUser, PermissionsMixin):
    """A person, who signs in with an e-mail address."""

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=150, blank=True)
    is_active = models.BooleanField(
        "active", default=True, help_text="Off: cannot sign in, and every API key of this user is refused."
    )
    is_staff = models.BooleanField("operator", default=False, help_text="May sign in to this admin.")
    date_joined = models.DateTimeField(default=timezone.now, editable=False)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects = UserManager()

    class Meta:
        ordering = ["email"]

    def __str__(self) -> str:
        return self.email

    def get_short_name(self) -> str:
        return self.name or self.email


class RateLimited(models.Model):
    """What may be used at once and in a minute. Empty: no limit. `relay.entry.limits.admission` keeps them."""

    requests_per_minute = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Requests in any 60 seconds; further ones are refused with 429. Empty: no limit.",
    )
    tokens_per_minute = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Input and output tokens in any 60 seconds. A request counts with an estimate of its input until it "
        "is over, then with what it used. Empty: no limit.",
    )
    concurrent_requests = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Requests under way at the same time; further ones are refused with 429. Empty: no limit.",
    )

    class Meta:
        abstract = True


class Organization(RateLimited):
    """A tenant: it owns keys, a wallet and its records. Every user has a personal one."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        SUSPENDED = "suspended"

    name = models.CharField(max_length=150)
    is_personal = models.BooleanField("personal", default=False, help_text="Made with a user, for that user alone.")
    status = models.CharField(
        max_length=10,
        choices=Status,
        default=Status.ACTIVE,
        help_text="Suspended: every request under its keys is refused with 403 within a second.",
    )
    members: Any = models.ManyToManyField(User, through="Membership", related_name="organizations")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A user's place in an organization."""

    class Role(models.TextChoices):
        OWNER = "owner"
        ADMIN = "admin"
        MEMBER = "member"

    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role, default=Role.MEMBER)

    class Meta:
        ordering = ["organization", "user"]
        constraints = [models.UniqueConstraint(fields=["user", "organization"], name="one_membership_per_organization")]

    def __str__(self) -> str:
        return f"{self.user} in {self.organization}"


def empty_list() -> list[str]:
    return []


class ApiKey(RateLimited):
    """A key that client SDKs send. Only its keyed hash and a visible prefix are stored; it is shown once."""

    class Purpose(models.TextChoices):
        API = "api", "API"
        PLAYGROUND = "playground", "Playground"

    organization = models.ForeignKey(Organization, models.PROTECT, related_name="api_keys")
    user = models.ForeignKey(
        User,
        models.PROTECT,
        related_name="api_keys",
        help_text="The member whose key this is; usage is shown as theirs.",
    )
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, editable=False, help_text="The first characters, to recognise the key by.")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    previous_digest = models.CharField(
        max_length=64,
        unique=True,
        null=True,
        editable=False,
        help_text="Of the secret before the last rotation, which works until `previous_expires_at`.",
    )
    previous_expires_at = models.DateTimeField(null=True, editable=False)
    purpose = models.CharField(max_length=10, choices=Purpose, default=Purpose.API, editable=False)
    enabled = models.BooleanField(default=True, help_text="Off: refused with 403 within a second.")
    expires_at = models.DateTimeField(null=True, blank=True, help_text="From then on it is refused. Empty: never.")
    allowed_models = models.JSONField(
        default=empty_list, blank=True, help_text="Model names this key may use. Empty: every model of its group."
    )
    allowed_ips = models.JSONField(
        "allowed addresses",
        default=empty_list,
        blank=True,
        help_text="IP addresses or CIDR networks it may be used from. Empty: anywhere.",
    )
    group = models.CharField(
        max_length=50, default="default", help_text="The model group, which decides the channels and the rate."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    deleted_at = models.DateTimeField(
        null=True, editable=False, help_text="A deleted key is unknown to the relay; usage logs still know its name."
    )

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "API key"
        indexes = [models.Index(fields=["organization", "-created_at"], name="key_by_organization")]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class PersonalAccessToken(models.Model):
    """What a program sends to the management API instead of a session. It acts for a member of one organization."""

    user = models.ForeignKey(User, models.CASCADE, related_name="access_tokens")
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="access_tokens")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(default=empty_list, help_text="Of `accounts.permissions.SCOPES`.")
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, editable=False, help_text="Written at most once a minute.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class Invitation(models.Model):
    """An e-mail that lets its reader join an organization, once. Its link carries a secret; here is its keyed hash."""

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="invitations")
    email = models.EmailField()
    role = models.CharField(max_length=10, choices=Membership.Role, default=Membership.Role.MEMBER)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    invited_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.email} to {self.organization}"


class AuditEntry(models.Model):
    """Who did what, written in the transaction that did it. Insert-only: a database trigger refuses changes.

    Its keys carry no constraint: what an entry tells of may be gone. `changes`: field → [before, after], no secrets.
    """

    class Via(models.TextChoices):
        CONSOLE = "console", "Console"
        ADMIN = "admin", "Admin"
        API = "api", "API"
        COMMAND = "command", "Command line"

    at = models.DateTimeField(default=timezone.now)
    organization = models.ForeignKey(
        Organization, models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="+"
    )
    actor = models.ForeignKey(User, models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="+")
    actor_name = models.CharField(max_length=254, blank=True, help_text="The e-mail at that time.")
    via = models.CharField(max_length=10, choices=Via, default=Via.COMMAND)
    client_ip = models.CharField(max_length=45, blank=True)
    action = models.CharField(max_length=50, help_text="A row of `accounts.audit.ACTIONS`, e.g. api_key.created.")
    object_kind = models.CharField(max_length=30)
    object_id = models.CharField(max_length=200, blank=True)
    object_name = models.CharField(max_length=300, blank=True)
    changes = models.JSONField(default=dict)

    class Meta:
        ordering = ["-id"]
        default_permissions = ("view",)
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["organization", "-id"], name="audit_by_organization"),
            models.Index(fields=["object_kind", "object_id", "-id"], name="audit_by_object"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.object_name}"


class ConfigVersion(models.Model):
    """One row. Every change of configuration takes its number here, in its own transaction: numbers commit in order."""

    number = models.BigIntegerField(default=0)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.number)


class ConfigChange(models.Model):
    """What changed at a version, so that a web process fetches only that. See `accounts.changes`."""

    class Kind(models.TextChoices):
        API_KEY = "api_key"
        USER = "user"
        ORGANIZATION = "organization"
        CHANNEL = "channel"
        MODEL = "model"
        GROUP = "group"
        PRICE = "price"

    number = models.BigIntegerField(primary_key=True)
    kind = models.CharField(max_length=20, choices=Kind)
    object_id = models.CharField(max_length=200)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.number}: {self.kind} {self.object_id}"
