#!/usr/bin/env bash
# `make bench`: needs wrk, PostgreSQL and Redis (Debian packages), and two cores.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v wrk >/dev/null || { echo "wrk is not installed (Debian package wrk)" >&2; exit 1; }
exec "${PYTHON:-.venv/bin/python}" -m tests.benchmarks.run
