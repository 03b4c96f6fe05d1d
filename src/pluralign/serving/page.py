"""GET /docs: the OpenAPI document as a page that needs nothing from elsewhere, on which the examples can be sent.

Usual pages of this kind load their program from a foreign server, which then sees every key that is typed in.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from html import escape
from typing import Any

from starlette.responses import Response

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h2 { border-top: 1px solid #ccc; padding-top: 1rem; } h2 span { color: #06c; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; vertical-align: top; padding: .2rem .6rem; }
tr:nth-child(even) { background: #f4f4f4; } code, pre, textarea { font: 14px/1.4 ui-monospace, monospace; }
textarea { width: 100%; box-sizing: border-box; } pre { background: #f4f4f4; padding: .6rem; white-space: pre-wrap; }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd; } h2 span { color: #6af; }
  tr:nth-child(even), pre { background: #262626; } textarea, select, input { background: #262626; color: #ddd; } }
"""
_SCRIPT = """
for (const form of document.querySelectorAll("form")) {
  const select = form.querySelector("select"), area = form.querySelector("textarea"), out = form.querySelector("pre");
  if (select) select.addEventListener("change", () => { area.value = select.value; });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const headers = {}, key = document.getElementById("key").value;
    if (key) headers["Authorization"] = "Bearer " + key;
    if (area) headers["Content-Type"] = "application/json";
    out.textContent = "...";
    try {
      const got = await fetch(form.dataset.path, { method: form.dataset.method, headers, body: area ? area.value : undefined });
      out.textContent = got.status + "\\n";
      const reader = got.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) out.textContent += part.value;
    } catch (error) { out.textContent = String(error); }
  });
}
"""
_HASH = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_HASH}'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


def page(document: Mapping[str, Any]) -> Response:
    """The page of an OpenAPI document."""
    about, schemas = document["info"], document["components"]["schemas"]
    parts = [
        _operation(path, method, told, schemas)
        for path, methods in document["paths"].items()
        for method, told in methods.items()
    ]
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(about["title"])}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{escape(about['title'])} {escape(about['version'])}</h1><p>{escape(about['description'])}</p>"
        '<p>The same for programs: <a href="/openapi.json">/openapi.json</a>. '
        '<label>API key, where the server asks for one: <input id="key" type="password" autocomplete="off"></label></p>'
        f"{''.join(parts)}<script>{_SCRIPT}</script></body></html>"
    )
    return Response(text, media_type="text/html", headers={"Content-Security-Policy": _POLICY})


def _operation(path: str, method: str, told: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    head = f"<h2><span>{method.upper()}</span> {escape(path)}</h2><p>{escape(told.get('summary', ''))}</p>"
    body = told.get("requestBody", {}).get("content", {}).get("application/json", {})
    fields = _fields(schemas[_name(body["schema"])]) if body else ""
    answers = "".join(
        f"<tr><td>{status}</td><td>{escape(answer['description'])}</td></tr>"
        for status, answer in told["responses"].items()
    )
    return f"{head}{fields}<table><tr><th>status</th><th></th></tr>{answers}</table>{_form(path, method, body)}"


def _form(path: str, method: str, body: Mapping[str, Any]) -> str:
    """Where a request can be sent; a path with a blank in it has none."""
    if "{" in path:
        return ""
    examples = {name: json.dumps(each["value"], indent=2) for name, each in body.get("examples", {}).items()}
    options = "".join(f'<option value="{escape(value)}">{escape(name)}</option>' for name, value in examples.items())
    first = next(iter(examples.values()), "")
    asked = (
        f'<p><select aria-label="example">{options}</select></p><textarea rows="12" aria-label="body">{escape(first)}</textarea>'
        if body
        else ""
    )
    where = f'data-path="{escape(path)}" data-method="{method.upper()}"'
    return f"<form {where}>{asked}<p><button>Send</button></p><pre></pre></form>"


def _fields(schema: Mapping[str, Any]) -> str:
    needed = set(schema.get("required", ()))
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code>{' *' if name in needed else ''}</td><td>{escape(_kind(told))}</td>"
        f"<td>{escape(told.get('description', ''))}</td></tr>"
        for name, told in schema["properties"].items()
    )
    return f"<table><tr><th>field (* needed)</th><th>type</th><th></th></tr>{rows}</table>"


def _kind(told: Mapping[str, Any]) -> str:
    """A type in words: "list of text, or null"."""
    if "$ref" in told:
        return _name(told)
    if "anyOf" in told:
        return ", or ".join(dict.fromkeys(_kind(each) for each in told["anyOf"]))
    if told.get("type") == "array":
        return f"list of {_kind(told['items'])}"
    kind = {"string": "text"}.get(told.get("type", ""), told.get("type", "anything"))
    low, high = told.get("minimum"), told.get("maximum", told.get("exclusiveMaximum"))
    return kind if low is None or abs(low) > 1e9 else f"{kind} from {low:g}" + ("" if high is None else f" to {high:g}")


def _name(told: Mapping[str, Any]) -> str:
    return str(told["$ref"]).rpartition("/")[2]
