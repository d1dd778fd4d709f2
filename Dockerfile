# CostRouter: one image for the web server, the worker, the schedule and every command.
FROM python:3.11-slim AS build
RUN python -m venv /venv
COPY requirements.txt /
RUN /venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r /requirements.txt

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin costrouter
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=costrouter.settings \
    VAR_DIR=/app/var \
    BIND=0.0.0.0
WORKDIR /app
COPY . .
RUN install -d -o costrouter -m 0700 /app/var
USER 10001
EXPOSE 8000
# gunicorn finishes its streams on SIGTERM: give it more than DRAIN_SECONDS before it is killed.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-m", "costrouter.healthcheck"]
CMD ["gunicorn", "-c", "python:costrouter.gunicorn", "costrouter.asgi:application"]
