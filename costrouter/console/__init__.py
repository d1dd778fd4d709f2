"""The console: pages of a signed-in member of an organization. They cross apps, so they live above them.

`access.py` says who may see a page, `menu.py` what the sidebar holds, `urls.py` where each page is.
"""
