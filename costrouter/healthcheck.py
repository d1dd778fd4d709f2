"""The name by which containers call `costrouter.serve.healthcheck`."""

from __future__ import annotations

from costrouter.serve.healthcheck import main

if __name__ == "__main__":
    main()
