"""What belongs to the site, for its operators: by Django's permissions, as in the admin."""

from __future__ import annotations

READ, WRITE = "operator:read", "operator:write"
