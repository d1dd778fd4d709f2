"""The management API, `/api/v1`: everything the console can do, by session or by personal access token.

`base.py` is the frame: an operation says what it needs, takes and answers; it is checked, validated and described by
that alone. The resources are `tenant/` (an organization's own) and `operator/`; `docs.py` shows them all.
"""
