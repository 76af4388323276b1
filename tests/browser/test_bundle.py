"""How the page is put together from its modules, without a browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from workers.http.documents import digest_of
from workers.http.page import build
from workers.http.page.modules import NotBundled, bundle, stripped


def read_from(files: dict[str, str]):
    return files.__getitem__


def test_modules_come_in_the_order_in_which_they_need_each_other():
    """Each once; imports go, exports stay only where the world imports."""
    files = {
        "a/main.js": 'import { one } from "./one.js";\nimport { two } from "./two.js";\nexport const all = two;\n',
        "a/one.js": 'import { two } from "./two.js";\nexport const one = two;\n',
        "a/two.js": "export const two = 2;\n",
    }
    expected = "const two = 2;\nconst one = two;\nexport const all = two;\n"
    assert bundle("a/main.js", read_from(files)).script == expected


def test_an_import_from_outside_stays_at_the_top():
    """The page gets its client from where everybody else gets it."""
    inner = 'import { c } from "/c.js";\nexport const b = c;\n'
    files = {"a/main.js": 'import { b } from "./b.js";\nb;\n', "a/b.js": inner}
    script = bundle("a/main.js", read_from(files), keep="/c.js").script
    assert script == 'import { c } from "/c.js";\nconst b = c;\nb;\n'


def test_what_is_imported_when_it_is_needed_becomes_a_second_script():
    """It gets what it needs of the first by name, and brings what the first has not; a type in a comment is none."""
    files = {
        "a/main.js": 'import { one } from "./one.js";\n/** @type {import("./c.js").X} */\none(import("./two.js"));\n',
        "a/one.js": "export const one = 1;\nexport const unused = 2;\n",
        "a/two.js": 'import { one } from "./one.js";\nimport { c } from "./c.js";\nexport const two = one + c;\n',
        "a/c.js": "export const c = 3;\n",
    }
    made = bundle("a/main.js", read_from(files))
    assert made.script.startswith("const one = 1;\nconst unused = 2;\none(later());\n")
    assert "({ start }) => start({ one })" in made.script and made.script.count("import(") == 1
    expected = "export function start({ one }) {\nconst c = 3;\nconst two = one + c;\nreturn { two };\n}\n"
    assert made.later == expected
    assert bundle("a/one.js", read_from(files)).later == ""


def test_comments_and_indentation_are_not_sent():
    """What only looks like one stays: in a string, behind code, inside a template."""
    text = """/**
 * Owns a thing.
 * @param {string} name
 */
function a(/** @type {any} */ name) {
  // said by nobody
  /* nor this */

  const address = "https://a/**".concat("//"); // the end
  return `
    // kept
  ${name}`;
}
"""
    expected = """function a(name) {
const address = "https://a/**".concat("//"); // the end
return `
    // kept
  ${name}`;
}
"""
    assert stripped(text) == expected


@pytest.mark.parametrize("text", ["export default 1;\n", 'import * as x from "./x.js";\n', "export { a };\n"])
def test_what_cannot_be_joined_is_refused(text):
    """A module in a form that is not understood would fail only in the browser."""
    files = {"a/main.js": 'import { b } from "./b.js";\n', "a/b.js": text}
    with pytest.raises(NotBundled):
        bundle("a/main.js", read_from(files))


def test_only_modules_of_the_same_directory():
    """So that a module's address is its name."""
    with pytest.raises(NotBundled):
        bundle("a/main.js", read_from({"a/main.js": 'import { b } from "../b.js";\n'}))


def test_the_page_needs_no_other_host():
    """Nothing is loaded from anywhere but the script beside it, and every inline part has its hash."""
    page = build()
    html = page.html.decode()
    assert "/* style */" not in html and "/* app */" not in html and "/* early */" not in html
    loaded = re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"(?!data:)([^\"]*)\"", html)
    assert [name for name in loaded if name.removeprefix("./") not in page.parts] == []
    script = f"./assets/chat-{digest_of(page.script)}.js"
    assert re.findall(r"^import .* from \"(.*)\";$", html, re.MULTILINE) == [script]
    assert re.findall(r"\s(?:on[a-z]+|style)=\"", html) == []
    assert page.csp.count("'sha256-") == 3
    assert "innerHTML" not in html and "insertAdjacentHTML" not in html and "outerHTML" not in html


def test_the_client_stands_alone():
    """`/chat.js` is one module without imports that exports what other sites need."""
    script = build().script.decode()
    assert re.findall(r"^import\b", script, re.MULTILINE) == []
    assert re.findall(r"^export (?:function|class) (\w+)", script, re.MULTILINE) == ["connect", "Chat"]
    assert "export { ChatError };" in script


def test_widths_are_asked_for_in_rem():
    """Who has the browser's letters larger gets the narrow page earlier, as with zoom (WCAG 2.2, 1.4.4)."""
    html = build().html.decode()
    conditions = re.findall(r"@media ([^{]*)\{|matchMedia\(([^)]*)", html)
    assert len(conditions) > 8 and not [found for found in conditions if "px" in "".join(found)]


def test_the_joined_modules_are_one_script(tmp_path: Path):
    """Names are unique over all modules, which Node says without running anything."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    page = build()
    (tmp_path / "app.mjs").write_text(
        page.html.decode().partition('<script type="module">')[2].partition("</script>")[0]
    )
    (tmp_path / "chat.mjs").write_bytes(page.script)
    (later,) = [part for name, part in page.parts.items() if name.startswith("assets/later-")]
    (tmp_path / "later.mjs").write_bytes(later)
    for name in ("app.mjs", "chat.mjs", "later.mjs"):
        ended = subprocess.run(
            [node, "--check", name], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert ended.returncode == 0, ended.stderr


def test_every_name_is_unique_over_all_modules():
    """In the second script, a function, of two functions by one name the later is meant, and nobody says so."""
    declared = re.compile(r"^(?:export )?(?:async )?(?:function|class|const|let) (\w+)", re.MULTILINE)
    app = Path(__file__).resolve().parents[2] / "workers/http/page/app"
    names = [name for path in app.glob("*.js") for name in declared.findall(path.read_text(encoding="utf-8"))]
    assert sorted({name for name in names if names.count(name) > 1}) == []
