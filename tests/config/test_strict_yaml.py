"""Strict YAML: scalars by the YAML 1.2 core schema, one message with a line number for everything else."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bncompare.config.yaml import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_NUMBER_LENGTH,
    dump_yaml,
    load_yaml,
    parse_alike_yaml,
    parse_yaml,
)
from bncompare.errors import UserError


def problems_of(text: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        parse_yaml(text, "c.yaml")
    return list(caught.value.problems)


def problems_of_file(path: Path, content: bytes) -> list[str]:
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_yaml(path)
    return list(caught.value.problems)


# ---------------------------------------------------------------- scalars


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("+3", 3),
        ("0", 0),
        ("-0", 0),
        ("01.5", 1.5),
        ("'007'", "007"),
        ("1e-3", 0.001),
        ("1e5", 100000.0),
        ("1E5", 100000.0),
        ("-1.5e+2", -150.0),
        (".5", 0.5),
        ("-.5", -0.5),
        ("5.", 5.0),
        ("0.0", 0.0),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("+.Inf", math.inf),
        (".INF", math.inf),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("null", None),
        ("Null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("No", "No"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("n", "n"),
        ("tRue", "tRue"),
        ("nULL", "nULL"),
        ("none", "none"),
        ("inf", "inf"),
        ("nan", "nan"),
        ("-.nan", "-.nan"),
        ("1_000", "1_000"),
        ("1,000", "1,000"),
        ("12:30", "12:30"),
        ("190:20:30.15", "190:20:30.15"),
        ("2024-01-01", "2024-01-01"),
        (".", "."),
        ("1e", "1e"),
        ("e5", "e5"),
        ("1.2.3", "1.2.3"),
        ("٣", "٣"),
        ("'3'", "3"),
        ('"1e-3"', "1e-3"),
        ("'true'", "true"),
        ('"null"', "null"),
        ("'~'", "~"),
        ('""', ""),
        ("|\n  3\n", "3\n"),
        (">\n  true\n", "true\n"),
        ('"\\u00e9\\n"', "é\n"),
        ("3 # three", 3),
        ("a#b", "a#b"),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: Any) -> None:
    """A plain scalar has the type YAML 1.2 gives it, and a quoted one is text."""
    read = parse_yaml(f"key: {text}\n", "c.yaml").data["key"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("text", [".nan", ".NaN", ".NAN"])
def test_nan_is_a_float(text: str) -> None:
    """`.nan` is read as a number, for the schema to refuse with the key's name."""
    assert math.isnan(parse_yaml(f"key: {text}", "c.yaml").data["key"])


def test_keys_are_text() -> None:
    """A key is what is written, never a number, a boolean or null."""
    assert parse_yaml("1: a\ntrue: b\nno: c\n~: d\n1e3: e\n", "c.yaml").data == {
        "1": "a",
        "true": "b",
        "no": "c",
        "~": "d",
        "1e3": "e",
    }


def test_numbers_up_to_the_limit_are_read() -> None:
    """A number is an error one character beyond the limit and not before."""
    digits = "1" * MAX_NUMBER_LENGTH
    assert parse_yaml(f"a: {digits}", "c.yaml").data == {"a": int(digits)}
    assert problems_of(f"a: 0\nb: {digits}1") == [f"c.yaml:2: a number of {MAX_NUMBER_LENGTH + 1} digits is too long"]


@pytest.mark.parametrize("number", ["9" * 5000, "-" + "9" * 5000, "0." + "1" * 5000, "1e" + "9" * 5000])
def test_over_long_numbers_are_an_error(number: str) -> None:
    """A number of thousands of digits is one message, not Python's ValueError or infinity."""
    (problem,) = problems_of(f"a: 1\nb: {number}\n")
    assert problem.startswith("c.yaml:2: ")
    assert "too long" in problem
    assert len(problem) < 200


# ---------------------------------------------------------------- what strict refuses


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        pytest.param("a: 1\nb: 2\na: 3\n", ["c.yaml:3: a: ", "duplicate", "c.yaml:1"], id="duplicate key"),
        pytest.param("a:\n  b: 1\n  b: 1\n", ["c.yaml:3: a.b: ", "duplicate", "c.yaml:2"], id="nested duplicate"),
        pytest.param("a: {b: 1, b: 2}\n", ["c.yaml:1: a.b: ", "duplicate"], id="duplicate in flow"),
        pytest.param("a: 1\n'a': 2\n", ["c.yaml:2: a: ", "duplicate"], id="duplicate, once quoted"),
        pytest.param("a:\n- x: 1\n  y: 2\n  x: 3\n", ["c.yaml:4: a[0].x: ", "duplicate"], id="duplicate in a list"),
        pytest.param("a: 1\nb: &n 2\n", ["c.yaml:2: ", "anchors"], id="anchor on a scalar"),
        pytest.param("a: 1\nb: &n\n  c: 2\n", ["c.yaml:", "anchors"], id="anchor on a mapping"),
        pytest.param("a: 1\nb: &n [1]\n", ["c.yaml:2: ", "anchors"], id="anchor on a list"),
        pytest.param("a: 1\nb: *n\n", ["c.yaml:2: ", "aliases"], id="alias"),
        pytest.param("a: 1\n*n : 2\n", ["c.yaml:2: ", "aliases"], id="alias as a key"),
        pytest.param("a: 1\n&n b: 2\n", ["c.yaml:2: ", "anchors"], id="anchor on a key"),
        pytest.param("a: 1\nb: !!int 2\n", ["c.yaml:2: ", "tags"], id="tag"),
        pytest.param("a: 1\nb: !x {}\n", ["c.yaml:2: ", "tags", "!x"], id="local tag on a mapping"),
        pytest.param("a: !!python/object/apply:os.system [ls]\n", ["c.yaml:1: ", "tags"], id="python tag"),
        pytest.param("a: 1\n! b: 2\n", ["c.yaml:2: ", "tags"], id="tag on a key"),
        pytest.param("a: 1\n---\nb: 2\n", ["c.yaml:2: ", "second"], id="second document"),
        pytest.param("---\na: 1\n...\n---\n", ["c.yaml:4: ", "second"], id="second document, empty"),
        pytest.param("a: 1\n? [b]\n: 2\n", ["c.yaml:2: ", "key"], id="list as a key"),
        pytest.param("a: 1\n? {b: c}\n: 2\n", ["c.yaml:2: ", "key"], id="mapping as a key"),
        pytest.param("a: 1\n{b: c}: 2\n", ["c.yaml:2: ", "key"], id="flow mapping as a key"),
        pytest.param("a: 1\nb: {[c]: 2}\n", ["c.yaml:2: ", "key"], id="flow list as a key"),
        pytest.param("a: 1\n\tb: 2\n", ["c.yaml:2: ", "YAML"], id="tab as indentation"),
        pytest.param("a: 1\nb: [1, 2\nc: 3\n", ["c.yaml:3: ", "YAML"], id="list not closed"),
        pytest.param("a: 1\nb: {c: 1\n", ["c.yaml:", "YAML"], id="mapping not closed"),
        pytest.param('a: 1\nb: "x\n', ["c.yaml:", "YAML"], id="quote not closed"),
        pytest.param("a: 1\nb: c: 2\n", ["c.yaml:2: ", "YAML"], id="two colons"),
        pytest.param("a: 1\n  b: 2\n", ["c.yaml:2: ", "YAML"], id="wrong indentation"),
        pytest.param("a: 1\n- b\n", ["c.yaml:2: ", "YAML"], id="list item in a mapping"),
        pytest.param("a: 1\nb: ]\n", ["c.yaml:2: ", "YAML"], id="bracket not opened"),
        pytest.param("a: 1\nb: @x\n", ["c.yaml:2: ", "YAML"], id="reserved character"),
        pytest.param("a: 1\nb: %x\n", ["c.yaml:2: ", "YAML"], id="percent"),
        pytest.param('a: 1\nb: "\\q"\n', ["c.yaml:2: ", "YAML"], id="unknown escape"),
        pytest.param("a: 1\nb: x\0y\n", ["c.yaml:2: ", "YAML", "character"], id="NUL"),
        pytest.param("%YAML 3.0\n---\na: 1\n", ["c.yaml:1: "], id="YAML 3"),
        pytest.param("a: 1\nb: x\x1b[2Jy\n", ["c.yaml:2: ", "character"], id="escape sequence"),
    ],
)
def test_refused_with_the_line(text: str, fragments: list[str]) -> None:
    """What a config may not hold is one message that names the line."""
    (problem,) = problems_of(text)
    assert problem.startswith("c.yaml:")
    for fragment in fragments:
        assert fragment in problem
    assert problem.isprintable()


def test_all_duplicates_are_named_at_once() -> None:
    """Several duplicate keys are several messages, in the order of their lines, before a later syntax error."""
    problems = problems_of("a: 1\na: 2\nb:\n  c: 1\n  c: 2\na: 3\nd: [\n")
    assert [problem.split(": ")[0] for problem in problems[:3]] == ["c.yaml:2", "c.yaml:5", "c.yaml:6"]
    assert len(problems) == 4
    assert "YAML" in problems[3]


@pytest.mark.parametrize(("open_text", "close_text"), [("[", "]"), ("{a: ", "}")])
def test_depth_up_to_the_limit(open_text: str, close_text: str) -> None:
    """Nesting is an error one level beyond the limit and not before."""
    parse_yaml(open_text * MAX_DEPTH + close_text * MAX_DEPTH, "c.yaml")
    (problem,) = problems_of("# deep\n" + open_text * (MAX_DEPTH + 1) + close_text * (MAX_DEPTH + 1))
    assert problem == f"c.yaml:2: nested more than {MAX_DEPTH} levels deep"


def test_block_depth_names_the_line() -> None:
    """Nesting by indentation is refused at the line that goes too deep."""
    text = "".join(" " * i + "a:\n" for i in range(200))
    assert problems_of(text) == [f"c.yaml:{MAX_DEPTH + 1}: nested more than {MAX_DEPTH} levels deep"]


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{" * 100_000, "[{" * 50_000, "{a: " * 60_000, "- " * 100_000, "? " * 100_000]
)
def test_very_deep_nesting_is_one_quick_message(text: str) -> None:
    """A hundred thousand open brackets are one message at once: no recursion error, no long wait."""
    started = time.process_time()
    (problem,) = problems_of(text)
    assert time.process_time() - started < 2
    assert problem.startswith("c.yaml:1: ")
    assert len(problem) < 200


# ---------------------------------------------------------------- files


def test_file_larger_than_the_limit(tmp_path: Path) -> None:
    """A file is too large one byte beyond the limit and not before."""
    path = tmp_path / "c.yaml"
    content = b"a: 1\n#"
    path.write_bytes(content.ljust(MAX_BYTES, b"x"))
    assert load_yaml(path).data == {"a": 1}
    (problem,) = problems_of_file(path, content.ljust(MAX_BYTES + 1, b"x"))
    assert problem.startswith(f"{path}: ")
    assert "256 KiB" in problem


@pytest.mark.parametrize(
    ("content", "line", "fragment"),
    [
        pytest.param(b"a: 1\nb: caf\xe9\n", 2, "UTF-8", id="Latin-1"),
        pytest.param("a: 1\nb: 2\n".encode("utf-16"), 1, "UTF-8", id="UTF-16"),
        pytest.param(bytes(range(256)), 2, "UTF-8", id="binary"),
        pytest.param(b"", 1, "empty", id="empty"),
        pytest.param(b"\xef\xbb\xbf", 1, "empty", id="BOM alone"),
        pytest.param(b"# nothing\n\n", 1, "empty", id="comment alone"),
        pytest.param(b"---\n", 1, "empty", id="empty document"),
        pytest.param(b"- a\n- b\n", 1, "list", id="list"),
        pytest.param(b"just words\n", 1, "mapping", id="text"),
        pytest.param(b"3\n", 1, "mapping", id="number"),
        pytest.param(b"true\n", 1, "mapping", id="boolean"),
    ],
)
def test_files_that_are_no_config(tmp_path: Path, content: bytes, line: int, fragment: str) -> None:
    """A file that is not UTF-8 or whose top level is no mapping is one message with the line."""
    path = tmp_path / "c.yaml"
    (problem,) = problems_of_file(path, content)
    assert problem.startswith(f"{path}:{line}: ")
    assert fragment in problem


def test_missing_file_and_folder(tmp_path: Path) -> None:
    """A path that is no readable file is one message that names the path."""
    for path, fragment in [
        (tmp_path / "none.yaml", "no such file"),
        (tmp_path, "folder"),
        (tmp_path / "x" / "y.yaml", "no such file"),
    ]:
        with pytest.raises(UserError) as caught:
            load_yaml(path)
        assert caught.value.problems[0].startswith(f"{path}: ")
        assert fragment in caught.value.problems[0]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_byte_order_mark_and_windows_line_ends(tmp_path: Path, bom: bytes, newline: str) -> None:
    """A BOM and CR LF line ends change neither the values nor the line numbers."""
    path = tmp_path / "c.yaml"
    path.write_bytes(bom + newline.join(["a: 1", "b:", "  c: text", ""]).encode())
    document = load_yaml(path)
    assert document.data == {"a": 1, "b": {"c": "text"}}
    assert document.place(("b", "c")) == f"{path}:3"


def test_places() -> None:
    """Every value knows the line of its key, and what is missing the line of what should hold it."""
    document = parse_yaml("a: 1\nb:\n  c:\n    - x\n    - y: 2\nd:\n\n  {e: 3,\n  f: 4}\n", "c.yaml")
    expected = {
        ("a",): 1,
        ("b",): 2,
        ("b", "c"): 3,
        ("b", "c", 0): 4,
        ("b", "c", 1): 5,
        ("b", "c", 1, "y"): 5,
        ("d",): 6,
        ("d", "e"): 8,
        ("d", "f"): 9,
        ("b", "missing"): 2,
        ("b", "c", 1, "y", "deeper"): 5,
        ("missing", "deeper"): 1,
    }
    assert {path: document.place(path) for path in expected} == {
        path: f"c.yaml:{line}" for path, line in expected.items()
    }


def test_a_document_is_never_changed() -> None:
    """Assigning gives another document: the old one has its values and places, and both share what is the same."""
    before = parse_yaml("a: {b: 1}\nc: [2]\nd: word\n", "c.yaml")
    value = parse_yaml("3", "--set", line_numbers=False)
    after = before.assign(("a", "x"), value, {}).assign(("d", "e"), value, {("d",): "kind"})
    assert before.data == {"a": {"b": 1}, "c": [2], "d": "word"}
    assert after.data == {"a": {"b": 1, "x": 3}, "c": [2], "d": {"kind": "word", "e": 3}}
    places = {("a", "b"): "c.yaml:1", ("a", "x"): "--set", ("c", 0): "c.yaml:2", ("d", "kind"): "c.yaml:3"}
    assert {path: after.place(path) for path in places} == places
    assert before.place(("a", "x")) == "c.yaml:1"
    assert after.parts["c"] is before.parts["c"]
    assert after.without("c").data == {"a": {"b": 1, "x": 3}, "d": {"kind": "word", "e": 3}}


# ---------------------------------------------------------------- writing

# fmt: off
LOOKALIKES = [
    "no", "yes", "on", "off", "y", "n", "true", "False", "NULL", "null", "~", "0",
    "-1", "+1", "1e5", "1e-3", ".5", "5.", "0x10", "0o7", "007", "1_000", "12:30", "2024-01-01",
    ".inf", "-.inf", ".nan", "inf", "nan", "=", "<<", "-", "--", "---", "...", "?",
    ":", "|", ">", "&", "*", "!", "%", "@", "`", "#", "[]", "{}",
    "[", "]", "{", "}", ",", "'", '"', "a:", "a:b", "#a", "a#", "-",
    "-x", "?x", "*a", "&a", "!a",
]
# fmt: on

printable = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]) | st.sampled_from("\n\t :#-'\",[]{}"))
texts = printable | st.sampled_from([*LOOKALIKES, "", " ", " a", "a ", "a: b", "a #b", "\n", "a\n", "\na", "a\n\n b"])
plain: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | texts | st.just("x" * 150) | printable
)
nested = plain
for _ in range(3):
    nested = nested | st.lists(nested, max_size=3) | st.dictionaries(texts, nested, max_size=3)


@settings(deadline=None, max_examples=150)
@given(nested)
def test_what_is_written_is_read_back(data: Any) -> None:
    """`dump` writes plain data so that `parse` gives it back: the same values, types and order of keys."""
    assert repr(parse_yaml(dump_yaml(data), "c.yaml").data) == repr(data)


@pytest.mark.parametrize("text", LOOKALIKES)
def test_text_that_looks_like_something_else_stays_text(text: str) -> None:
    """Text that looks like a number, a boolean, null or syntax is written so that it is read as text."""
    data = {text: text, "list": [text, [text]], "nested": {"key": text}}
    assert parse_yaml(dump_yaml(data), "c.yaml").data == data


# ---------------------------------------------------------------- many documents that are alike


def outcome(read: Callable[[], Any]) -> Any:
    """What a call returns, or the problems it raises."""
    try:
        return repr(read())  # NaN equals itself, 1 and 1.0 differ
    except UserError as error:
        return error.problems


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: [1, 2]\nc:\n- x\n- y: z\n# end\n",
        "a:\nb:\n",
        "a: 1\na: 2\n",
        "a: 1\nb: 2\n a: 3\n",
        'a: "x\nb: y"\nc: 1\n',
        "a: 'x\nb: y'\n",
        "a: [1,\nb: 2]\n",
        "a: {x: 1,\ny: 2}\n",
        "a: |\n  text\n\nb: >-\n  text\n",
        "a: |+\n  text\n\n\nb: 1\n",
        "a: x\n  y\nb: z\n",
        "a: &x 1\nb: *x\n",
        "a: 1\n---\nb: 2\n",
        "a: 1\n...\nb: 2\n",
        "%YAML 1.1\n---\na: 1\n",
        "? a\n: 1\nb: 2\n",
        "a: 1\r\nb: 2\r\n",
        "a: 1\rb: 2\ra: 3\n",
        "\ufeffa: 1\nb: 2\n",
        "# first\na: 1\n",
        "- a: 1\nb: 2\n",
        "a: \x1b\nb: 1\n",
        "",
    ],
)
def test_a_part_seen_before_is_read_the_same(text: str) -> None:
    """Reading documents part by part gives what reading each whole gives, or the same problems."""
    for _ in range(2):
        assert outcome(lambda: parse_alike_yaml(text, "c.yaml")) == outcome(lambda: parse_yaml(text, "c.yaml").data)


LINES = [
    *("a: 1", "b: x", "a: ", "c: [1,", "d: 2]", 'e: "', 'f: "', "g: |", "  h: 3", "- 4", "- i: 5", "# j: 6", "k: {"),
    *("l: 7}", "'", "---", "...", "%m", "? n", ": 8", "", "o: &p", "q: *p", "\tr: 9", "s:9", "t: >"),
]


@settings(deadline=None, max_examples=400)
@given(st.lists(st.sampled_from(LINES), max_size=6))
def test_no_cut_between_parts_is_wrong(lines: list[str]) -> None:
    """Quotes, brackets and markers that span lines at the margin are read as they are in one piece."""
    text = "\n".join(lines)
    assert outcome(lambda: parse_alike_yaml(text, "c.yaml")) == outcome(lambda: parse_yaml(text, "c.yaml").data)


def test_equal_parts_are_parsed_once() -> None:
    """Two documents share what they have in common."""
    first, second = (parse_alike_yaml(f"shared: {{deep: [1, 2]}}\nseeds: [{i}]\n", "c.yaml") for i in range(2))
    assert (first["seeds"], second["seeds"]) == ([0], [1])
    assert first["shared"] is second["shared"]


def test_half_of_a_surrogate_pair() -> None:
    """A text that no file can hold is a problem with its line."""
    message = "c.yaml:2: half of a surrogate pair, which no text may hold"
    assert problems_of('a: 1\nb: "\\ud800"\n') == [message]
    assert problems_of('a: 1\n"\\udfff": 1\n') == [message]
    assert parse_yaml('a: "\\U0001f600"', "c.yaml").data == {"a": "😀"}
