"""Write the parts of README.md and docs/ that the code says better; each stands between two comments.

    python docs/generate.py            writes them anew
    python docs/generate.py --check    exits 1, with a diff, where a page says something else, or a link breaks

In go what the commands print (`init --schema`, `norms`, `report`), their options and examples, docstrings, and the
table in results.md.
"""

import ast
import difflib
import json
import re
import runpy
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

from bncompare.cli import app
from bncompare.cli.help import EXAMPLES, EXIT_CODES, GROUPS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "bncompare"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

LARGE = 1e9  # bounds above are there against typing errors, and say nothing

# Six of the published results, for the README.
SHOWN_RESULTS = (
    "BatchNorm is far ahead after one epoch",
    "At a matched small learning rate BatchNorm does not train faster",
    "With batches of 2 BatchNorm's error is higher than GroupNorm's",
    "The loss varies less along the gradient with BatchNorm",
    "Ghost batches are more accurate than whole large ones",
    "BatchNorm trains faster, at epoch 100",
)


def output(*arguments: str) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "bncompare", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, encoding="utf-8").stdout


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; a cell is one line, and a bar in it no border."""
    cells = [[re.sub(r"(?<!\\)\|", r"\\|", " ".join(cell.split())) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *cells]) + "\n"


def docstring(path: Path) -> str:
    """The head of a module."""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


# --- the config reference, from the JSON Schema ---------------------------------------------------------------------


Schema = dict[str, Any]


class Reference:
    """The keys of a config as tables, a chapter for each section, in the order of the schema."""

    def __init__(self, schema: Schema) -> None:
        self.definitions: dict[str, Schema] = schema["$defs"]
        self.chapters: dict[str, list[Schema]] = {}
        """the sections that may stand at a dotted key"""
        self._collect("", [schema])

    def _collect(self, path: str, sections: list[Schema]) -> None:
        if path in self.chapters:
            return  # the models share some
        self.chapters[path] = sections
        for section in sections:
            for key, value in section["properties"].items():
                inner = self.sections(value)
                if inner:
                    self._collect(f"{path}.{key}".lstrip("."), inner)

    def sections(self, value: Schema) -> list[Schema]:
        """The sections that a value may be, or a list of."""
        if "$ref" in value:
            return [self.definitions[value["$ref"].rsplit("/", 1)[1]]]
        choices = [*value.get("anyOf", []), *value.get("oneOf", [])]
        choices += [value["items"]] if "items" in value else []
        return [section for choice in choices for section in self.sections(choice)]

    @staticmethod
    def tag(section: Schema) -> tuple[str, list[str]]:
        """The key that tells a section from its alternatives, and its values; nothing where there is none."""
        for key in ("name", "kind"):
            choices = section["properties"].get(key, {})
            values = choices.get("enum") or ([choices["const"]] if "const" in choices else [])
            if values:
                return key, values
        return "", []

    def values(self, value: Schema, path: str) -> Iterator[str]:
        """What a key may be, in a few words each."""
        sections = self.sections({key: value[key] for key in value if key != "items"})
        tagged = [kind for section in sections for kind in self.tag(section)[1]]
        yield from (f"`{kind}`" for kind in tagged)
        if sections and not tagged:
            yield f"[mapping](#{slug(path)})"
        for choice in [value] if "type" in value or "enum" in value else value.get("anyOf", []):
            # Beside sections with a tag, text is the tag alone.
            if "$ref" not in choice and not (tagged and choice.get("type") == "string"):
                yield "list of these" if tagged and "items" in choice else self._plain(choice, path)

    def _plain(self, value: Schema, path: str) -> str:
        choices = value.get("enum", [value["const"]] if "const" in value else [])
        if choices:
            return ", ".join(f"`{choice}`" for choice in choices)
        if value.get("type") == "array":
            items = " or ".join(self.values(value["items"], path))
            return "list of " + re.sub("(number|mapping)", r"\1s", items)
        words = {"boolean": "`true`, `false`", "string": "text", "null": "`null`", "object": "mapping"}
        words |= {"integer": "whole number", "number": "number"}
        bounds = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        limits = [f"{sign} {value[name]:,}" for name, sign in bounds if name in value and abs(value[name]) < LARGE]
        return " ".join([words[value["type"]], " and ".join(limits)]).strip()

    def default(self, value: Schema, *, required: bool) -> str:
        """The default, as a person would write it: what a section has by itself is left out."""
        if required:
            return "required"
        default = value.get("default")
        if isinstance(default, dict) and default:
            section = next(section for section in self.sections(value) if self._is_of(section, default))
            own = {key: inner.get("default") for key, inner in section["properties"].items()}
            shown = {key: inner for key, inner in default.items() if own[key] != inner}
            if not shown:
                return "its defaults"
            default = next(iter(shown.values())) if len(shown) == 1 else shown
        return f"`{json.dumps(default, ensure_ascii=False).strip(chr(34))}`"

    def _is_of(self, section: Schema, value: Schema) -> bool:
        key, kinds = self.tag(section)
        return not key or value.get(key) in kinds

    def chapter(self, path: str) -> str:
        """A section, or the alternatives at one key; what several of these have in common is said once."""
        sections = self.chapters[path]
        tags = {key for key, _ in map(self.tag, sections) if key and path}
        alternatives = {tuple(self.tag(section)[1]): section for section in sections}
        rows: dict[tuple[str, ...], list[str]] = {}
        for kinds, section in alternatives.items():
            for key, value in section["properties"].items():
                if key in tags:
                    continue
                words = ", ".join(dict.fromkeys(self.values(value, f"{path}.{key}".lstrip("."))))
                default = self.default(value, required=key in section.get("required", []))
                rows.setdefault((f"`{key}`", words, default, value.get("description", "")), []).extend(kinds)
        lines = [f"## {path or 'the whole'}", ""]
        header = ["key", "value", "default", "meaning"]
        if not tags:
            return "\n".join([*lines, table(header, [list(row) for row in rows])])
        every = [kind for kinds in alternatives for kind in kinds]
        said = in_short if path.startswith("model.norm") else str  # norms.md has the rest
        about = [
            [", ".join(f"`{kind}`" for kind in kinds), said(s["description"])] for kinds, s in alternatives.items()
        ]
        lines += [table([tags.pop(), "what"], about)]
        if rows:
            keys = [row[0] for row in rows]
            together = sorted(rows.items(), key=lambda item: keys.index(item[0][0]))
            cells = [[row[0], among(kinds, every), *row[1:]] for row, kinds in together]
            lines += [table([header[0], "of", *header[1:]], cells)]
        return "\n".join(lines)


def in_short(text: str) -> str:
    """Its first sentence."""
    return re.split(r"(?<=\.) (?=[A-Zτ])", text, maxsplit=1)[0]


def among(some: list[str], every: list[str]) -> str:
    """Some of the kinds there are, by name, or as all but others."""
    others = [kind for kind in every if kind not in some]
    if not others:
        return "all"
    names, words = (others, "all but ") if 2 * len(others) < len(some) else (some, "")
    return words + ", ".join(f"`{name}`" for name in names)


def config_reference() -> str:
    """Every key of a config."""
    reference = Reference(json.loads(output("init", "--schema")))
    return "\n".join(map(reference.chapter, reference.chapters))


# --- commands, norms, packages, rules, results ----------------------------------------------------------------------


def commands() -> dict[str, Any]:
    """The commands by name, in the order of a first use."""
    found: dict[str, Any] = typer.main.get_command(app).commands
    return {name: found[name] for group in GROUPS.values() for name in group if name in found}


def usage(name: str, command: Any) -> str:
    """`bncompare norms [KIND]`."""
    words = ["bncompare", name]
    for argument in arguments_of(command):
        word = argument.metavar + ("..." if argument.nargs == -1 else "")
        words.append(word if argument.required else f"[{word}]")
    return " ".join(words)


def arguments_of(command: Any) -> list[Any]:
    """What a command takes without the name of an option."""
    return [parameter for parameter in command.params if not parameter.opts[0].startswith("-")]


def command_table() -> str:
    """A line a command, group by group."""
    groups = {name: group for group, members in GROUPS.items() for name in members}
    rows = [[groups[name], f"`{usage(name, command)}`", command.help] for name, command in commands().items()]
    return table(["to", "command", "what"], rows)


def exit_codes() -> str:
    """Those of every command."""
    return table(["exit code", "meaning"], [list(row) for row in EXIT_CODES.items()])


def command_reference() -> str:
    """Every command with its options."""
    lines = []
    for name, command in commands().items():
        hints = typing.get_type_hints(command.callback)
        lines += [f"## {name}", "", f"`{usage(name, command)}`", "", command.help, ""]
        lines += [f"- `{argument.metavar}`: {argument.help}" for argument in arguments_of(command)]
        lines += [""] if lines[-1] else []
        rows = []
        for option in command.params:
            if not option.opts[0].startswith("-") or option.name == "help":
                continue
            choices = literals(hints[option.name])
            value = "" if option.is_flag else f" {option.metavar or '|'.join(choices) or option.name.upper()}"
            tells = option.default is None or option.is_flag or "[default" in option.help
            default = "" if tells else f" [default: {option.default}]"
            rows.append([f"`{', '.join(option.opts)}{value}`", (option.help or "") + default])
        lines += [table(["option", "meaning"], rows)] if rows else []
        lines += ["```sh", *EXAMPLES[name], "```", ""]
    return "\n".join(lines)


def literals(hint: Any) -> list[str]:
    """The values of a `Literal`, which may be one of several types."""
    inner = typing.get_args(hint)
    return list(inner) if typing.get_origin(hint) is typing.Literal else [v for part in inner for v in literals(part)]


def norm_table() -> str:
    """The kinds of norm, a row each; below it what else there is to say about some."""
    norms = json.loads(output("norms", "--json")).items()
    rows = [[f"`{kind}`", in_short(norm["summary"]), norm["formula"], norm["axes"]] for kind, norm in norms]
    more = [(kind, norm["summary"].removeprefix(in_short(norm["summary"])).strip()) for kind, norm in norms]
    notes = "\n".join(f"- `{kind}`: {rest}" for kind, rest in more if rest)
    return f"{table(['kind', 'what', 'formula', 'statistics over'], rows)}\n{notes}"


def packages() -> str:
    """The packages, from the top floor to the ground, by the first lines of their faces."""
    floors = runpy.run_path(str(ROOT / "tests" / "test_imports.py"))["FLOORS"]
    faces = {f"{floor}/": PACKAGE / floor / "__init__.py" for floor in reversed(floors)}
    faces |= {f"{floor}.py": PACKAGE / f"{floor}.py" for floor in reversed(floors)}
    return "\n".join(
        ["```", *(f"{name:15}{head_of(path)}" for name, path in faces.items() if path.exists()), "```", ""]
    )


def head_of(path: Path) -> str:
    """The first line of a module."""
    return docstring(path).splitlines()[0]


def rules_of(path: str) -> Callable[[], str]:
    """The head of a module, where the rules stand that its code follows."""

    def quoted() -> str:
        return docstring(PACKAGE / path) + "\n"

    return quoted


def example_report() -> str:
    """The first lines of the report on the committed example."""
    lines = output("report", "runs/example", "--markdown").splitlines()[:11]
    return "".join(f"> {line}".rstrip() + "\n" for line in lines)


def some_results() -> str:
    """Rows of the table of published results."""
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    rows, experiment = {}, ""
    for line in text.split("## Published results")[1].splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 5:
            experiment = cells[0] or experiment
            rows[cells[1]] = [experiment, *cells[1:]]
    header = ["experiment", "claim", "published", "measured (95 % CI)", "verdict"]
    return table(header, [rows[claim] for claim in SHOWN_RESULTS])


PARTS: dict[str, Callable[[], str]] = {
    "config reference": config_reference,
    "command reference": command_reference,
    "commands": command_table,
    "exit codes": exit_codes,
    "norms": norm_table,
    "packages": packages,
    "rules of verdicts": rules_of("comparison/verdicts.py"),
    "rules of claims": rules_of("comparison/claims.py"),
    "report of the example": example_report,
    "results": some_results,
}
PART = re.compile(r"(<!-- (?P<name>[a-z ]+): generated -->\n).*?(<!-- end of (?P=name) -->)", re.DOTALL)


def generate(text: str) -> str:
    """A page with its parts made anew."""
    return PART.sub(lambda match: match[1] + PARTS[match["name"]]() + match[3], text)


# --- links ----------------------------------------------------------------------------------------------------------


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def broken_links(page: Path, text: str, texts: dict[Path, str]) -> Iterator[str]:
    """Links of a page to a file or a heading that is not there, and modules it names that are not."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose)):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        headings = re.findall(r"^#+ (.*)$", texts.get(file, ""), re.MULTILINE)
        if "://" not in target and (not file.exists() or (anchor and anchor not in map(slug, headings))):
            yield f"{page.relative_to(ROOT)}: the link to {target} leads nowhere"
    for name in re.findall(r"`((?:\w+/)+\w+\.py)`", prose):
        if not any((folder / name).exists() for folder in (ROOT, PACKAGE)):
            yield f"{page.relative_to(ROOT)}: there is no {name}"


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` say what of them is not as the code says."""
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    old = {page: page.read_text(encoding="utf-8") for page in PAGES}
    new = {page: generate(text) for page, text in old.items()}
    problems = [problem for page, text in new.items() for problem in broken_links(page, text, new)]
    unclosed = [page for page, text in old.items() if text.count(": generated -->") != len(PART.findall(text))]
    problems += [f"{page.relative_to(ROOT)}: a generated part has no end" for page in unclosed]
    for page, text in new.items():
        name = str(page.relative_to(ROOT))
        if text != old[page] and arguments:
            diff = difflib.unified_diff(
                old[page].splitlines(), text.splitlines(), name, "what the code says", "", "", 1
            )
            problems += [*(line.rstrip("\n") for line in diff), f"{name}: python docs/generate.py writes it anew"]
        elif text != old[page]:
            page.write_text(text, encoding="utf-8")
            print(name)
    print("\n".join(problems), file=sys.stderr, end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
