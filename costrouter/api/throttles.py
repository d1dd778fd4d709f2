"""How often a caller may ask. Rates: `DEFAULT_THROTTLE_RATES` in `costrouter/api/config.py`."""

from __future__ import annotations

from typing import Any

from rest_framework.throttling import SimpleRateThrottle

from accounts.models import PersonalAccessToken


class PerCaller(SimpleRateThrottle):
    """Each token, and each user by session, for itself."""

    scope = "api"

    def get_cache_key(self, request: Any, view: Any) -> str:
        auth = request.auth
        who = f"token:{auth.pk}" if isinstance(auth, PersonalAccessToken) else f"user:{request.user.pk}"
        return f"throttle:{self.scope}:{who}"


class Redeem(SimpleRateThrottle):
    """Codes are not to be guessed: each user for themselves, by session and tokens together."""

    scope = "redeem"

    def get_cache_key(self, request: Any, view: Any) -> str:
        return f"throttle:{self.scope}:{request.user.pk}"


class Reconcile(Redeem):
    """What reads every record is for now and then."""

    scope = "reconcile"
