"""The pages keep their word: Python runs, commands and options exist, links lead somewhere.

A fenced ``python`` block is executed; the blocks of a page share a namespace and a scratch folder.
Just before a block, a comment ``<!-- no test: reason -->`` leaves it out. A comment

    <!-- test setup:
    x = 1
    -->

is executed where it stands, unseen by the reader. In ``console`` blocks the lines ``$ thalweg ...``
and ``$ make ...`` are held against the program's own help and the Makefile.
"""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(page for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md") if page.exists()),
    *sorted((ROOT / "docs").glob("**/*.md")),
]

FENCE = re.compile(r"^(?P<indent> *)```+ *(?P<language>[\w-]*)")
SKIP = re.compile(r"<!-- no test: \S.*-->")
SETUP = "<!-- test setup:"

THALWEG = "import sys; sys.argv[0] = 'thalweg'; from thalweg.cli import main; sys.exit(main())"


class Block(NamedTuple):
    """The inside of a fence, or of a set-up comment; ``line`` is that of its first line of text."""

    language: str
    text: str
    line: int
    skipped: bool = False


def blocks(page: str) -> list[Block]:
    found = []
    lines = page.splitlines()
    at = 0
    before = ""
    while at < len(lines):
        fence = FENCE.match(lines[at])
        if fence or lines[at].startswith(SETUP):
            end = "```" if fence else "-->"
            indent = len(fence["indent"]) if fence else 0
            start = at + 1
            at = next(
                (n for n in range(start, len(lines)) if lines[n].strip().startswith(end)), None
            )
            if at is None:
                raise ValueError(f"the block that begins in line {start} has no end")
            found.append(
                Block(
                    language=fence["language"] if fence else "python",
                    text="\n".join(line[indent:] for line in lines[start:at]),
                    line=start + 1,
                    skipped=bool(SKIP.fullmatch(before)),
                )
            )
        before = lines[at].strip() or before
        at += 1
    return found


def commands(page: str) -> list[tuple[int, list[str]]]:
    """The programs called after a ``$`` in console blocks, each with its line and its arguments."""
    return [
        (block.line + block.text[: match.start()].count("\n"), command)
        for block in blocks(page)
        if block.language == "console" and not block.skipped
        for match in re.finditer(r"^\$ (?P<line>(?:.*\\\n)*.*)$", block.text, re.MULTILINE)
        for command in split(match["line"])
    ]


def split(line: str) -> list[list[str]]:
    """A shell line as the words of each program in it; settings in front of a program are left out."""
    lexer = shlex.shlex(line.replace("\\\n", " "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    programs: list[list[str]] = [[]]
    for word in lexer:
        if word and set(word) <= set("();<>|&"):
            programs.append([])
        elif programs[-1] or not re.match(r"[A-Z_]+=", word):
            programs[-1].append(word)
    return [program for program in programs if program]


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def help_of(*command: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", THALWEG, *command, "--help"],
        env={
            **os.environ,
            "COLUMNS": "250",
            "NO_COLOR": "1",
            "TERM": "dumb",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, f"thalweg {' '.join(command)} --help: {result.stderr}"
    return result.stdout


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_python_on_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    for block in blocks(page.read_text()):
        if block.language == "python" and not block.skipped:
            # Blank lines in front give a traceback the page's own line numbers.
            code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
            exec(code, namespace)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_commands_on_a_page_exist(page: Path) -> None:
    for line, (program, *arguments) in commands(page.read_text()):
        where = f"{named(page)}:{line}"
        if program == "make":
            for target in (a for a in arguments if "=" not in a and not a.startswith("-")):
                known = re.search(rf"^{re.escape(target)}:", makefile(), re.MULTILINE)
                assert known, f"{where}: the Makefile has no target {target}"
        elif program == "thalweg":
            check_thalweg(arguments, where)


def check_thalweg(arguments: list[str], where: str) -> None:
    command = [a for a in arguments[:1] if not a.startswith("-")]
    if command:
        assert re.search(rf"\b{re.escape(command[0])}\b", help_of()), (
            f"{where}: there is no command {command[0]}"
        )
    options = help_of(*command)
    for option in (a.partition("=")[0] for a in arguments if re.match("--[a-z]", a)):
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", options), (
            f"{where}: thalweg {' '.join(command)} has no option {option}"
        )


def makefile() -> str:
    return (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_links_of_a_page_lead_to_files_that_exist(page: Path) -> None:
    text = page.read_text()
    targets = re.findall(r"\]\(([^)\s]+)[^)]*\)", text) + re.findall(
        r'(?:src|href)="([^"]+)"', text
    )
    for target in targets:
        path = target.partition("#")[0]
        if path and "://" not in path and not path.startswith("mailto:"):
            assert (page.parent / path).exists(), (
                f"{named(page)} leads to {path}, which is not there"
            )


def test_the_project_is_described_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"version: {project['version']}\n" in (ROOT / "CITATION.cff").read_text()
    if (ROOT / "README.md").exists():
        assert project.get("readme") == "README.md"


def test_the_reading_of_a_page() -> None:
    page = """
<!-- test setup:
x = 1
-->

```python
y = x
```
<!-- no test: takes an hour -->

```python
z
```

- in a list
  ```console
  $ thalweg race \\
      case:saddle --seeds 3   # comment
  verdict
  $ cd "a b" && OMP_NUM_THREADS=1 make demo | tail -1
  ```
"""
    assert blocks(page)[:3] == [
        Block("python", "x = 1", 3),
        Block("python", "y = x", 7),
        Block("python", "z", 12, skipped=True),
    ]
    assert commands(page) == [
        (17, ["thalweg", "race", "case:saddle", "--seeds", "3"]),
        (20, ["cd", "a b"]),
        (20, ["make", "demo"]),
        (20, ["tail", "-1"]),
    ]
    with pytest.raises(ValueError, match="line 1"):
        blocks("```python\nx = 1")
