"""The official SDKs: what makes a client of each, in each language. Rows: what is imported, and the client's lines."""

from __future__ import annotations

from dataclasses import dataclass

from costrouter.reference.marks import BASE, KEY


@dataclass(frozen=True, slots=True)
class Sdk:
    """A package and how a client of it is made. `install`: what to type."""

    name: str
    install: str
    imports: tuple[str, ...]
    client: tuple[str, ...]


PYTHON: dict[str, Sdk] = {
    "openai": Sdk(
        "openai",
        "pip install openai",
        ("from openai import OpenAI",),
        (f'client = OpenAI(base_url="{BASE}/v1", api_key="{KEY}")',),
    ),
    "anthropic": Sdk(
        "anthropic",
        "pip install anthropic",
        ("from anthropic import Anthropic",),
        (f'client = Anthropic(base_url="{BASE}", api_key="{KEY}")',),
    ),
    "google": Sdk(
        "google-genai",
        "pip install google-genai",
        ("from google import genai",),
        (f'client = genai.Client(api_key="{KEY}", http_options={{"base_url": "{BASE}"}})',),
    ),
}

NODE: dict[str, Sdk] = {
    "openai": Sdk(
        "openai",
        "npm install openai",
        ('import OpenAI from "openai";',),
        (f'const client = new OpenAI({{ baseURL: "{BASE}/v1", apiKey: "{KEY}" }});',),
    ),
    "anthropic": Sdk(
        "@anthropic-ai/sdk",
        "npm install @anthropic-ai/sdk",
        ('import Anthropic from "@anthropic-ai/sdk";',),
        (f'const client = new Anthropic({{ baseURL: "{BASE}", apiKey: "{KEY}" }});',),
    ),
    "google": Sdk(
        "@google/genai",
        "npm install @google/genai",
        ('import { GoogleGenAI } from "@google/genai";',),
        (f'const client = new GoogleGenAI({{ apiKey: "{KEY}", httpOptions: {{ baseUrl: "{BASE}" }} }});',),
    ),
}
