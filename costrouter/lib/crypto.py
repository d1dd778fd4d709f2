"""Secrets at rest: a keyed hash for API keys, authenticated encryption for upstream credentials."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class CannotDecrypt(Exception):
    """None of the configured keys opens this ciphertext."""


def key_digest(secret: str, api_key: str) -> str:
    """HMAC-SHA-256 of an API key, as 64 hex digits: what is stored, looked up and cached instead of the key."""
    return hmac.digest(secret.encode(), api_key.encode("utf-8", "surrogateescape"), hashlib.sha256).hex()


def encrypt(keys: Sequence[str], plaintext: str) -> str:
    """Fernet token of `plaintext` under the first of `keys`."""
    return MultiFernet([Fernet(key) for key in keys]).encrypt(plaintext.encode()).decode()


def encrypt_bytes(keys: Sequence[str], plaintext: bytes) -> bytes:
    """The same of bytes."""
    return MultiFernet([Fernet(key) for key in keys]).encrypt(plaintext)


def decrypt_bytes(keys: Sequence[str], token: bytes) -> bytes:
    """The bytes of a token that any of `keys` made. Raises CannotDecrypt."""
    try:
        return MultiFernet([Fernet(key) for key in keys]).decrypt(token)
    except InvalidToken as error:
        raise CannotDecrypt("no key in FIELD_ENCRYPTION_KEYS opens this") from error


def decrypt(keys: Sequence[str], token: str) -> str:
    """The plaintext of a token that any of `keys` made. Raises CannotDecrypt."""
    try:
        return MultiFernet([Fernet(key) for key in keys]).decrypt(token.encode()).decode()
    except InvalidToken as error:
        raise CannotDecrypt("no key in FIELD_ENCRYPTION_KEYS opens these credentials") from error
