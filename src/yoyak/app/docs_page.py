"""The page /docs: the API in words, made of its OpenAPI description. It needs no JavaScript and loads nothing."""

from collections.abc import Mapping
from html import escape
from typing import Any

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "table{border-collapse:collapse;width:100%}td,th{border:1px solid #8888;padding:.3rem .5rem;text-align:left;"
    "vertical-align:top}pre{overflow:auto;padding:.7rem;border:1px solid #8888}code{font-family:ui-monospace,monospace}"
)


def docs_page(description: Mapping[str, Any]) -> str:
    """The page of an OpenAPI description."""
    info = description["info"]
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])}</title>',
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>',
        f"<h1>{escape(info['title'])}</h1><p>{escape(info.get('description', ''))}</p>",
        '<p>For programs: <a href="openapi.json">openapi.json</a></p>',
    ]
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            parts.append(_operation(path, method, operation))
    parts.append("<h2>Objects</h2>")
    schemas = description.get("components", {}).get("schemas", {})
    parts += [_schema(name, schema) for name, schema in schemas.items()]
    return "".join([*parts, "</body></html>"])


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(status)}</td><td>{escape(answer['description'])}</td>"
        f"<td>{_names(answer.get('content', {}))}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    body = operation.get("requestBody", {}).get("content", {})
    sends = f"<p>Body: {_names(body)}</p>" if body else ""
    return (
        f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation.get('description', ''))}</p>{sends}"
        f"<table><tr><th>Status</th><th>Meaning</th><th>Body</th></tr>{rows}</table>"
    )


def _names(content: Mapping[str, Any]) -> str:
    """The schemas of a body, each a link."""
    names = [media.get("schema", {}).get("$ref", "").rpartition("/")[2] for media in content.values()]
    return ", ".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in names if name) or escape(", ".join(content))


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    required = schema.get("required", [])
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code>{'' if field not in required else ' (required)'}</td>"
        f"<td>{escape(_kind(value))}</td><td>{escape(value.get('description', ''))}</td></tr>"
        for field, value in schema.get("properties", {}).items()
    )
    return (
        f'<h3 id="{escape(name)}">{escape(name)}</h3><p>{escape(schema.get("description", ""))}</p>'
        f"<table><tr><th>Field</th><th>Value</th><th>Meaning</th></tr>{rows}</table>"
    )


def _kind(value: Mapping[str, Any]) -> str:
    """The type of a value with its limits, in words."""
    if "$ref" in value:
        return str(value["$ref"]).rpartition("/")[2]
    for union in ("anyOf", "oneOf"):
        if union in value:
            return " or ".join(_kind(each) for each in value[union] if each.get("type") != "null")
    if "enum" in value or "const" in value:
        return " | ".join(map(str, value.get("enum", [value.get("const")])))
    words = str(value.get("type", "object"))
    if "items" in value:
        words += f" of {_kind(value['items'])}"
    limits = {
        "minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below",
        "minLength": "characters at least", "maxLength": "characters at most",
        "minItems": "at least", "maxItems": "at most",
    }  # fmt: skip
    stated = [f"{word} {value[key]}" for key, word in limits.items() if key in value]
    return f"{words}, {', '.join(stated)}" if stated else words
