"""Docs: the description of the service as a page, made of its OpenAPI document."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

_METHODS = ("get", "post", "patch", "delete")

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="/page/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/page/docs.css">
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header>
<h1>{title}</h1>
<p>{about} <a href="/">Page</a> · <a href="/openapi.json">OpenAPI 3.1</a> · version {version}</p>
</header>
<nav aria-label="Operations">
{contents}
</nav>
<main id="main">
{groups}
<section>
<h2 id="objects">Objects</h2>
{objects}
</section>
</main>
</body>
</html>
"""


def page_of(document: Mapping[str, Any]) -> str:
    """Return the page for an OpenAPI document.

    Parameters
    ----------
    document : mapping
        As `featx.serve.describe.openapi.document_of` makes it.
    """
    info, schemas = document["info"], document["components"]["schemas"]
    grouped = defaultdict[str, list[tuple[str, str, Mapping[str, Any]]]](list)
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                grouped[methods[method]["tags"][0]].append((method, path, methods[method]))
    return _PAGE.format(
        title=escape(info["title"]),
        about=escape(info["description"]),
        version=escape(info["version"]),
        contents="\n".join(_contents(name, listed) for name, listed in grouped.items()),
        groups="\n".join(
            _group(tag["name"], tag["description"], grouped[tag["name"]])
            for tag in document["tags"]
        ),
        objects="\n".join(_object(name, schemas[name]) for name in sorted(schemas)),
    )


_Listed = Iterable[tuple[str, str, Mapping[str, Any]]]


def _contents(name: str, listed: _Listed) -> str:
    links = "".join(
        f'<li><a href="#{each["operationId"]}"><b class="{method}">{method.upper()}</b> '
        f"{_broken(path)}</a></li>"
        for method, path, each in listed
    )
    return f"<h2>{escape(name)}</h2>\n<ul>{links}</ul>"


def _broken(path: str) -> str:
    """Return a path that a narrow window may break after its slashes."""
    return escape(path).replace("/", "/<wbr>")


def _group(name: str, about: str, listed: _Listed) -> str:
    operations = "\n".join(_operation(*each) for each in listed)
    return f"<section>\n<h2>{escape(name)}</h2>\n<p>{prose(about)}</p>\n{operations}\n</section>"


def _operation(method: str, path: str, said: Mapping[str, Any]) -> str:
    parts = [
        f'<article id="{said["operationId"]}">',
        f'<h3><b class="{method}">{method.upper()}</b> <code>{_broken(path)}</code></h3>',
        f"<p>{prose(said['summary'])}. {prose(said.get('description', ''))}</p>",
        _table("Parameters", _parameters(said.get("parameters", ()))),
        _body(said.get("requestBody", {}).get("content", {})),
        _answers(said["responses"]),
        *(_sample(each["source"]) for each in said["x-codeSamples"]),
        "</article>",
    ]
    return "\n".join(part for part in parts if part)


_Row = tuple[str, str, str]


def _parameters(listed: Iterable[Mapping[str, Any]]) -> Iterator[_Row]:
    for each in listed:
        required = ", required" if each.get("required") else ""
        kind = f"{kind_of(each['schema'])}, in the {each['in']}{required}"
        yield each["name"], kind, each["description"]


def _table(heading: str, rows: Iterable[_Row]) -> str:
    """Return rows of a name, what kind of value it is, and what it means, as a table."""
    body = "".join(
        f'<tr><th scope="row"><code>{escape(name)}</code></th><td>{kind}</td>'
        f"<td>{prose(about)}</td></tr>"
        for name, kind, about in rows
    )
    return f"<h4>{heading}</h4><table>{body}</table>" if body else ""


def _body(content: Mapping[str, Any]) -> str:
    kinds = [
        f"<code>{escape(kind)}</code> {kind_of(each['schema'])}" for kind, each in content.items()
    ]
    return f"<h4>Body</h4><p>{', or '.join(kinds)}</p>" if kinds else ""


def _answers(responses: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{status}</th><td>{_kinds(each["content"])}</td>'
        f"<td>{escape(each['description'])}</td></tr>"
        for status, each in responses.items()
    )
    statuses = ", ".join(responses)
    return f"<details><summary>Answers: {statuses}</summary><table>{rows}</table></details>"


def _kinds(content: Mapping[str, Any]) -> str:
    return ", or ".join(
        kind_of(each["schema"]) if each["schema"] else f"<code>{escape(kind)}</code>"
        for kind, each in content.items()
    )


def _sample(source: str) -> str:
    return f'<pre tabindex="0"><code>{escape(source)}</code></pre>'


def _object(name: str, schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    fields = _table(
        "",
        (
            (
                field,
                kind_of(each) + (", required" if field in required else ""),
                each.get("description", ""),
            )
            for field, each in schema.get("properties", {}).items()
        ),
    )
    kind = "" if fields else f"<p>{kind_of(schema)}</p>"
    about = prose(schema.get("description", ""))
    return (
        f'<article id="object-{escape(name)}"><h3>{escape(name)}</h3>'
        f"<p>{about}</p>{kind}{fields.removeprefix('<h4></h4>')}</article>"
    )


def prose(text: str) -> str:
    """Return a description as HTML: what stands between pairs of backquotes is code.

    Examples
    --------
    >>> prose("as ``top`` says, & more")
    'as <code>top</code> says, &amp; more'
    """
    return re.sub("``(.+?)``", r"<code>\1</code>", escape(text))


def kind_of(schema: Mapping[str, Any]) -> str:
    """Return what a schema allows, in a few words of HTML.

    Examples
    --------
    >>> kind_of({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]})
    'integer from 1 or null'
    """
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#object-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(kind_of, schema["anyOf"])))
    if "enum" in schema:
        return " or ".join(f"<code>{escape(_json(value))}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        return _array(schema)
    if schema.get("type") == "object":
        return _map(schema)
    return f"{escape(schema.get('type', 'anything'))}{_bounds(schema)}"


def _array(schema: Mapping[str, Any]) -> str:
    items = kind_of(schema["items"]) if schema.get("items") else "anything"
    if "prefixItems" in schema:
        items = ", ".join(map(kind_of, schema["prefixItems"]))
    fewest, most = schema.get("minItems", 0), schema.get("maxItems")
    if fewest == most:
        return f"array of {fewest:,} times {items}"
    if most is None and not fewest:
        return f"array of {items}"
    return f"array ({_range(fewest, most)}) of {items}"


def _map(schema: Mapping[str, Any]) -> str:
    if isinstance(schema.get("additionalProperties"), dict):
        return f"object of {kind_of(schema['additionalProperties'])}"
    fields = [f"<code>{escape(name)}</code>" for name in schema.get("properties", {})]
    return f"object with {', '.join(fields)}" if fields else "object"


def _bounds(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    return "" if low is None and high is None else f" {_range(low, high)}"


def _range(low: float | None, high: float | None) -> str:
    start = f"from {_number(low or 0)}"
    return start if high is None else f"{start} to {_number(high)}"


def _number(value: float) -> str:
    return f"{value:,}" if abs(value) < 1e9 else f"{value:g}"


def _json(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
