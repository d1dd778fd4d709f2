"""Django's settings. Everything that differs between deployments comes from the environment (`costrouter/env.py`)."""

from __future__ import annotations

from costrouter.admin.theme import UNFOLD  # noqa: F401  (a setting)
from costrouter.api.config import REST_FRAMEWORK, SPECTACULAR_SETTINGS  # noqa: F401  (settings)
from costrouter.env import BASE_DIR, load
from costrouter.sign_in import form_table as sign_in_forms

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
SIGN_UP = _given["SIGN_UP"]
PUBLIC_URL = _given["PUBLIC_URL"]
EMAIL_URL = _given["EMAIL_URL"]
STAFF_MFA = _given["STAFF_MFA"]
CONTACT = _given["CONTACT"]
# Provider → (client id, secret). Sign-in shows a provider once both are given.
SIGN_IN_PROVIDERS = {
    "github": (_given["GITHUB_CLIENT_ID"], _given["GITHUB_CLIENT_SECRET"]),
    "google": (_given["GOOGLE_CLIENT_ID"], _given["GOOGLE_CLIENT_SECRET"]),
}
# What "test this channel" calls; named, since the channels app may not import the relay.
CHANNEL_PROBE = "relay.routing.probe.probe_channel"

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.github",
    "allauth.socialaccount.providers.google",
    "allauth.usersessions",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "costrouter",
    "accounts",
    "channels_app",
    "billing",
    "relay",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "costrouter.middleware.Acting",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "costrouter.sign_in.middleware.Sessions",
    "costrouter.sign_in.middleware.StaffMfa",
    "costrouter.sign_in.middleware.AccountPages",
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
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/console/"
LOGOUT_REDIRECT_URL = "account_login"

# Sign-in by allauth. A user is an e-mail address; nobody gets in before it is verified, by a code that is mailed.
ACCOUNT_ADAPTER = "costrouter.sign_in.adapters.AccountAdapter"
ACCOUNT_FORMS, MFA_FORMS = sign_in_forms.ACCOUNT, sign_in_forms.MFA
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
# A code rather than a link: an address that is not verified yet is then kept nowhere, and blocks nobody.
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
ACCOUNT_EMAIL_VERIFICATION_SUPPORTS_RESEND = True
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_PREVENT_ENUMERATION = True
# Beside allauth's own limits. "key" is the e-mail address, "ip" the client's as `TRUSTED_PROXIES` lets us believe.
ACCOUNT_RATE_LIMITS = {
    "login": "30/m/ip",
    "login_failed": "10/m/ip,5/300s/key",
    "signup": "20/m/ip",
    "reset_password": "20/m/ip,5/m/key",
    "confirm_email": "1/10s/key",
}
MFA_ADAPTER = "costrouter.sign_in.adapters.MfaAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "CostRouter"
# Clocks may differ by half a minute.
MFA_TOTP_TOLERANCE = 1
SOCIALACCOUNT_ADAPTER = "costrouter.sign_in.adapters.SocialAdapter"
SOCIALACCOUNT_EMAIL_AUTHENTICATION = True
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
SOCIALACCOUNT_PROVIDERS = {
    provider: {"APPS": [{"client_id": client_id, "secret": secret}], "OAUTH_PKCE_ENABLED": True}
    for provider, (client_id, secret) in SIGN_IN_PROVIDERS.items()
    if client_id and secret
}

# Mails. A server that does not answer holds up a page for seconds, not for minutes.
DEFAULT_FROM_EMAIL = SERVER_EMAIL = _given["DEFAULT_FROM_EMAIL"]
EMAIL_TIMEOUT = 10
EMAIL_BACKEND = _given["MAIL"]["EMAIL_BACKEND"]
EMAIL_HOST = _given["MAIL"].get("EMAIL_HOST", "localhost")
EMAIL_PORT = _given["MAIL"].get("EMAIL_PORT", 25)
EMAIL_HOST_USER = _given["MAIL"].get("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = _given["MAIL"].get("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS = _given["MAIL"].get("EMAIL_USE_TLS", False)
EMAIL_USE_SSL = _given["MAIL"].get("EMAIL_USE_SSL", False)

# "default" counts rate limits, for all processes where there is Redis. "process" needs no server.
CACHES = {
    "default": {
        "BACKEND": "costrouter.lib.caches.SteadyRedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "page",
        "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1},
    }
    if REDIS_URL
    # Room for many callers: by default 300 of them would push each other's counts out.
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 50_000}},
    "process": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "process"},
}

LANGUAGE_CODE = "en-us"
# Every text can be translated: `manage.py makemessages -l de` writes into LOCALE_PATHS. A language that is not there in
# full would be mixed with English, so it is offered only once it is named here.
LANGUAGES = [("en", "English")]
LOCALE_PATHS = [BASE_DIR / "costrouter" / "locale"]
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
        "fido2": {"level": "WARNING"},
        "kombu": {"level": "WARNING"},
        "uvicorn.error": {"filters": ["no_websockets"]},
    },
}
