"""The secrets of the embedded default: what the environment lacks is generated once, into `VAR_DIR/secrets.env`.

Needs no Django, so that it works before there is a secret: `python -m costrouter.secretfile`, or `manage.py secrets`.
"""

from __future__ import annotations

import base64
import fcntl
import os
import secrets
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from costrouter.env import load

# A FIELD_ENCRYPTION_KEYS entry is a Fernet key: 32 random bytes in URL-safe base64.
GENERATORS: dict[str, Callable[[], str]] = {
    "SECRET_KEY": lambda: secrets.token_urlsafe(50),
    "KEY_HASH_SECRET": lambda: secrets.token_urlsafe(48),
    "FIELD_ENCRYPTION_KEYS": lambda: base64.urlsafe_b64encode(os.urandom(32)).decode(),
}
HEADER = "# Generated once. Without KEY_HASH_SECRET no API key works; without FIELD_ENCRYPTION_KEYS no channel does.\n"


def make_var_dir(var_dir: Path) -> None:
    """The folder of the embedded default, for its owner alone: it holds the database and secrets.

    One that is there already is made so too if it is ours, unless it is made for sharing, as /tmp is.
    """
    var_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = var_dir.stat()
    ours = found.st_uid == os.geteuid() and not found.st_mode & stat.S_ISVTX and var_dir != var_dir.parent
    if ours and found.st_mode & 0o077:
        var_dir.chmod(0o700)


def write_private(path: Path, text: str) -> None:
    """Replace a file by one that only its owner reads: whole or not at all, even when the power goes."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_missing(*, var_dir: Path, environment: Mapping[str, str]) -> list[str]:
    """Generate each secret that neither the file nor `environment` has; return their names. What is there stays.

    Two at once wait for each other, so both end up with the same secrets.
    """
    make_var_dir(var_dir)
    path = var_dir / "secrets.env"
    with (var_dir / ".secrets.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        text = path.read_text() if path.exists() else HEADER
        present = {line.partition("=")[0] for line in text.splitlines() if line.partition("=")[2]}
        made = [name for name in GENERATORS if name not in present and not environment.get(name)]
        if made:
            lines = "".join(f"{name}={GENERATORS[name]()}\n" for name in made)
            write_private(path, (text if text.endswith("\n") else text + "\n") + lines)
    return made


def main(arguments: Sequence[str] = ()) -> None:
    """Generate what is missing and say so on standard error, without the secrets themselves.

    With `--print` new ones go to standard output instead, for the environment of a deployment.
    """
    if "--print" in arguments:
        print("\n".join(f"{name}={generate()}" for name, generate in GENERATORS.items()))  # noqa: T201
        return
    given = dict(os.environ)
    var_dir = load().var_dir
    if made := write_missing(var_dir=var_dir, environment=given):
        print(f"Generated {', '.join(made)} into {var_dir / 'secrets.env'}.", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
