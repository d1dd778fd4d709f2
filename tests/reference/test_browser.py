"""The docs page in a browser: instant filters, links that open what they name, the reader's key in the snippets."""

from __future__ import annotations

import subprocess

import pytest
from django.test import Client
from playwright.sync_api import expect

from costrouter.reference.entries import ENTRIES

pytestmark = pytest.mark.any_database


@pytest.fixture
def docs(world, upstream, relay, tab):
    """The page, at a site that serves one model of another name than the examples'."""
    world.new_channel(upstream.url)
    relay.settled_down()

    def open_page(path="/docs/", **options):
        visit = tab(**options)
        visit.open(path)
        return visit.page

    return open_page


def names(page):
    return page.locator("[data-entry]:not([hidden])").evaluate_all("found => found.map(one => one.id.slice(4))")


def test_filters_are_instant(docs):
    page = docs()
    assert set(names(page)) == set(ENTRIES)
    page.get_by_label("Search", exact=True).fill("previous_response")
    assert names(page) == ["responses", "responses.compact"]
    expect(page.get_by_text("2 endpoints match.")).to_be_visible()
    assert page.locator("[data-nav]:visible").count() == 2
    page.get_by_label("Method").select_option("GET")
    assert names(page) == []
    page.get_by_role("link", name="Show all endpoints").click()
    assert set(names(page)) == set(ENTRIES)
    page.get_by_label("Provider").select_option("Cohere")
    assert names(page) == ["rerank"]


def test_filters_find_the_same_without_scripts(docs):
    with_scripts = docs()
    for words in ("sora-2", "count_tokens", "/v1beta", "temperature", "embedding", "stream"):
        with_scripts.get_by_label("Search", exact=True).fill(words)
        plain = docs(f"/docs/?q={words}", scripts=False)
        found = plain.locator("[data-entry]").evaluate_all("found => found.map(one => one.id.slice(4))")
        assert names(with_scripts) == found


def test_a_link_opens_the_section_that_it_names(docs):
    page = docs("/docs/#api-videos.create")
    expect(page.locator("details[id='api-videos.create']")).to_have_attribute("open", "")
    page.locator("[data-nav='api-rerank']").click()
    expect(page.locator("details[id='api-rerank'] h5").first).to_be_in_viewport()


def test_a_language_is_chosen_for_the_whole_page(docs):
    page = docs("/docs/#api-messages")
    section = page.locator("details[id='api-messages']")
    section.get_by_role("tab", name="Python").click()
    expect(section.locator("#messages-python")).to_be_visible()
    expect(page.locator("#quick-python")).to_be_visible()
    expect(page.locator("#quick-sh")).to_be_hidden()


def test_everything_is_readable_without_scripts(docs):
    page = docs("/docs/#api-chat.completions", scripts=False)
    for language in ("sh", "python", "javascript"):
        expect(page.locator(f"#quick-{language}")).to_be_visible()
    page.locator("details[id='api-rerank'] summary").click()
    expect(page.locator("#rerank-python")).to_be_visible()
    assert page.locator(".copy:visible").count() == 0


def test_a_key_that_is_pasted_is_in_the_snippets_with_a_model_that_it_may_use(docs, world):
    page = docs()
    page.get_by_label("Or paste one you have").fill(world.secret)
    expect(page.get_by_label("Model for text")).to_have_value("double-1")
    code = page.locator("#quick-sh").text_content()
    assert f"Bearer {world.secret}" in code and '"double-1"' in code and "gpt-4o" not in code
    # Whoever leaves takes it along.
    page.reload()
    assert world.secret not in page.content()
    assert "sk-xxxx" in page.locator("#quick-sh").text_content()


def test_what_is_no_key_is_not_put_anywhere(docs):
    page = docs()
    page.get_by_label("Or paste one you have").fill("sk-'; rm -rf / #")
    page.get_by_label("Model for text").fill("a'b")
    assert page.locator("#quick-sh").text_content().count("sk-xxxx") == 1
    assert "rm -rf" not in page.locator("#quick-sh").text_content()
    assert '"gpt-4o"' in page.locator("#quick-sh").text_content()


def test_a_key_that_is_made_on_the_page_works_as_pasted(docs, world):
    browser = Client()
    browser.force_login(world.alice)
    page = docs(session=browser.cookies["sessionid"].value)
    page.get_by_role("button", name="Create an API key").click()
    expect(page.get_by_text("Here is your new key.")).to_be_visible()
    expect(page.get_by_label("Model for text")).to_have_value("double-1")
    command = page.locator("#quick-sh").text_content()
    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=30, check=False)
    assert b"Hello there!" in done.stdout
    # Reloading makes no other.
    assert page.url.endswith("/docs/")
    page.reload()
    expect(page.get_by_role("button", name="Create an API key")).to_be_visible()
    assert world.prove()["records"] == 1
