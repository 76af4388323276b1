"""What a program's author sees of an exception."""

from __future__ import annotations

from chatmaster.tracebacks import format_program_error, where_raised
from tests.support.server import ROOT
from workers.payload import packed


def caught(code: str, **names: object) -> Exception:
    """What a program raises whose file is app.py, called by a frame of ours and by one of the library."""
    ours = compile("call()", str(ROOT / "workers" / "callbacks" / "application.py"), "exec")
    program = compile(code, "/srv/app.py", "exec")
    try:
        exec(ours, {"call": lambda: exec(program, names)})
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def test_it_begins_where_the_program_does_and_leaves_frames_of_ours_out() -> None:
    error = caught("packed(5)", packed=packed)
    text = format_program_error(error)
    assert '  File "/srv/app.py", line 1, in <module>' in text
    assert "payload.py" not in text
    assert "application.py" not in text
    assert text.endswith("json.dumps makes one\n")
    assert where_raised(error) == "app.py:1"


def test_causes_and_groups_are_trimmed_too() -> None:
    chained = caught(
        "try:\n    packed(5)\nexcept TypeError as error:\n    raise ValueError('x') from error", packed=packed
    )
    group = ExceptionGroup("several", [chained])
    for text in (format_program_error(chained), format_program_error(group)):
        assert "payload.py" not in text
        assert "/srv/app.py" in text


def test_a_bug_of_ours_keeps_its_frames() -> None:
    try:
        packed(5)
    except TypeError as error:
        found = error
    found.__traceback__ = found.__traceback__.tb_next if found.__traceback__ else None  # without this test's own frame
    assert "payload.py" in format_program_error(found)
    assert where_raised(found) == ""


def test_a_syntax_error_is_the_place_alone() -> None:
    try:
        compile("x ==", "/srv/app.py", "exec")
    except SyntaxError as error:
        found = error
    found.__traceback__ = None
    assert "/srv/app.py" in format_program_error(found)
