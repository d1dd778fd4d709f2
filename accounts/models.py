"""Who uses CostRouter: users, organizations (the tenants), memberships, API keys; and the configuration's version."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.core.validators import MinValueValidator
from django.db import models
from django.utils import timezone


class UserManager(BaseUserManager["User"]):
    """Django's commands create users through this; everything else through `accounts.services`."""

    def create_superuser(self, email: str, password: str | None = None, **extra: Any) -> User:
        from accounts.services import create_user

        return create_user(email=email, password=password, is_staff=True, is_superuser=True, **extra)

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
    """What may be used at once and in a minute. Empty: no limit. `relay.limits` keeps them."""

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

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


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
