"""The public API Docs: a page for people, an OpenAPI document for programs, both made of the same tables.

`relay/endpoints.py` says which endpoints there are, `relay/errors.py` which errors; `data/` tells what neither knows:
words, parameters, examples, how an official SDK is called. `entries.py` joins them, `snippets/` writes code,
`openapi.py` the document, `pages.py` the page.
"""
