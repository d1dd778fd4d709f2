"""The product in Debian's Chromium, by Playwright: what the tests of pages and `make screenshots` share."""
