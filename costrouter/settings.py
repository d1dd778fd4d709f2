"""Django's settings. Everything that differs between deployments comes from the environment (`costrouter/env.py`)."""

from __future__ import annotations

from costrouter.env import BASE_DIR, load
from costrouter.unfold import UNFOLD  # noqa: F401  (a setting)

_environment = load()
_given = _environment.values
VAR_DIR = _environment.var_dir
# What could not be read: the system checks say so, by name and with a hint.
ENVIRONMENT_PROBLEMS = _environment.problems

SECRET_KEY = _given["SECRET_KEY"]
KEY_HASH_SECRET = _given["KEY_HASH_SECRET"]
FIELD_ENCRYPTION_KEYS = _given["FIELD_ENCRYPTION_KEYS"]
TRUSTED_PROXIES = _given["TRUSTED_PROXIES"]
DRAIN_SECONDS = _given["DRAIN_SECONDS"]
DEBUG = _given["DEBUG"]
ALLOWED_HOSTS = _given["ALLOWED_HOSTS"]
CSRF_TRUSTED_ORIGINS = _given["CSRF_TRUSTED_ORIGINS"]
CORS_ORIGINS = _given["CORS_ORIGINS"]
REDIS_URL = _given["REDIS_URL"]
PORT = _given["PORT"]
BIND = _given["BIND"]
WEB_WORKERS = _given["WEB_WORKERS"]
MAX_BODY_BYTES = _given["MAX_BODY_BYTES"]
RESPONSES_DAYS = _given["RESPONSES_DAYS"]
ADMIN_EMAIL = _given["ADMIN_EMAIL"]
SANDBOX_URL = _given["SANDBOX_URL"]
# What "test this channel" calls; named, since the channels app may not import the relay.
CHANNEL_PROBE = "relay.probe.probe_channel"

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "rest_framework",
    "costrouter",
    "accounts",
    "channels_app",
    "billing",
    "relay",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "costrouter.middleware.Acting",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "costrouter.middleware.ContentSecurityPolicy",
]

ROOT_URLCONF = "costrouter.urls"
ASGI_APPLICATION = "costrouter.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "costrouter.console.menu.console",
            ],
        },
    },
]

DATABASES = {"default": _given["DATABASE"]}
_database = DATABASES["default"]
if _database["ENGINE"].endswith("sqlite3"):
    _database["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        # FULL: a commit that was answered survives a power cut too, not only a killed process.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    }
else:
    # Not kept: each page runs in a thread of its own under ASGI, and would leave its connection behind. The relay's
    # writer and poller hold theirs themselves.
    _database["CONN_MAX_AGE"] = 0
    # A network that swallows packets is noticed in seconds, not when the kernel gives up.
    _database["OPTIONS"] = {"connect_timeout": 5, "tcp_user_timeout": 10_000, **_database.get("OPTIONS", {})}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "admin:login"

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
FORMAT_MODULE_PATH = "costrouter.formats"

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Pages work without a collectstatic step: WhiteNoise indexes the apps' own folders at start.
STATIC_ROOT = None
WHITENOISE_USE_FINDERS = True

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _given["SECURE_COOKIES"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
# The embedded default speaks plain HTTP on loopback; TLS belongs to the proxy in front. Hosts are a setting.
SILENCED_SYSTEM_CHECKS = ["security.W004", "security.W008"]

# Celery. The broker carries wake-ups only: every task finds its work in the database.
CELERY_BROKER_DIR = VAR_DIR / "broker"
if REDIS_URL:
    CELERY_BROKER_URL = REDIS_URL
else:
    CELERY_BROKER_URL = "filesystem://localhost"
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(CELERY_BROKER_DIR),
        "data_folder_out": str(CELERY_BROKER_DIR),
        "control_folder": str(CELERY_BROKER_DIR / "control"),
        "polling_interval": 0.5,
    }
    # Files have no place for the fanout of remote control; `celery inspect` needs Redis.
    CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR_DIR / "beat-schedule")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    # uvicorn would log the query of every websocket, with a client's `?key=`, and take an HTTP refusal for a mistake.
    "filters": {
        "no_websockets": {
            "()": "django.utils.log.CallbackFilter",
            "callback": lambda record: not any(said in record.msg for said in ("WebSocket", "completing handshake")),
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": _given["LOG_LEVEL"]},
    "loggers": {
        "httpx": {"level": "WARNING"},
        "celery": {"level": "WARNING"},
        "kombu": {"level": "WARNING"},
        "uvicorn.error": {"filters": ["no_websockets"]},
    },
}
