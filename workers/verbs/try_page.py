"""The page at `/api/v1/` on which the verbs can be tried: one file, which loads nothing but the OpenAPI document."""

from __future__ import annotations

from typing import Final

PAGE: Final = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>chatmaster: verbs</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }
label { display: block; margin-top: 1rem; font-weight: 600; }
input, select, textarea { font: inherit; width: 100%; box-sizing: border-box; padding: .4rem; }
textarea, pre { font-family: ui-monospace, monospace; }
pre { background: #8882; padding: .6rem; overflow: auto; white-space: pre-wrap; }
button { font: inherit; margin-top: 1rem; padding: .4rem 1.2rem; }
:root { color-scheme: light dark; }
</style>
</head>
<body>
<h1>Verbs</h1>
<p><a href="openapi.json">openapi.json</a></p>
<form id="form">
<label for="key">API key (<code>chatctl apikey add NAME</code>)</label>
<input id="key" type="password" autocomplete="off" required>
<label for="verb">Verb</label>
<select id="verb"></select>
<p id="text"></p>
<label for="request">Request</label>
<textarea id="request" rows="8" spellcheck="false">{}</textarea>
<button>Call</button>
</form>
<h2>Answer</h2>
<pre id="answer" role="status"></pre>
<h2>Fields</h2>
<pre id="fields"></pre>
<script>
"use strict";
const at = (id) => document.getElementById(id);
let described;
function show() {
  const operation = described.paths["/" + at("verb").value].post;
  const schema = operation.requestBody.content["application/json"].schema;
  const kind = schema.$ref ? described.components.schemas[schema.$ref.split("/").pop()] : schema;
  at("text").textContent = operation.summary;
  at("fields").textContent = JSON.stringify(kind, null, 2);
  const needed = Object.fromEntries((kind.required || []).map((name) => [name, ""]));
  at("request").value = JSON.stringify(kind.type === "array" ? [] : needed, null, 2);
}
async function call(event) {
  event.preventDefault();
  const response = await fetch(at("verb").value, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: "Bearer " + at("key").value },
    body: at("request").value,
  });
  const text = await response.text();
  at("answer").textContent = response.status + "\\n" + JSON.stringify(JSON.parse(text), null, 2);
}
async function begin() {
  described = await (await fetch("openapi.json")).json();
  for (const path of Object.keys(described.paths)) at("verb").add(new Option(path.slice(1)));
  at("verb").addEventListener("change", show);
  at("form").addEventListener("submit", call);
  show();
}
begin();
</script>
</body>
</html>
"""
