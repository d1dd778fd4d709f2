"""The name by which scripts call `costrouter.serve.secretfile`."""

from __future__ import annotations

import sys

from costrouter.serve.secretfile import main

if __name__ == "__main__":
    main(sys.argv[1:])
