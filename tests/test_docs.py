"""The pages: links and files exist, Python compiles, examples run, figures are measured, pictures are as drawn."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import textwrap
import tomllib
import zipfile
from pathlib import Path

import pytest

from fastconv._plans.names import MEANINGS
from fastconv.config import EXTRAS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "fastconv" / "docs"
README, RESULTS = ROOT / "README.md", ROOT / "benchmarks" / "RESULTS.md"
PAGES = sorted(
    page for place in (".", ".github", "benchmarks", "fastconv/data", "fastconv/docs", "fastconv/docs/decisions")
    for page in (ROOT / place).glob("*.md")
)  # fmt: skip
# pages whose examples need extras
NEEDS = {"functions.md": ("matplotlib", "PIL", "onnx", "safetensors")}

pytestmark = pytest.mark.skipif(not (ROOT / ".github").exists(), reason="not in a checkout")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The names that a page's headings can be linked to by."""
    found = re.findall(r"^#+ (.*)$", without_code(page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def blocks(page: Path, examples: bool = False) -> list[str]:
    """The Python of a page; of README, and where only examples are asked for, what is one."""
    marked = examples and page != README
    pattern = ("^<!-- example -->\n" if marked else "^") + "```python\n(.*?)^```$"
    return [textwrap.dedent(b) for b in re.findall(pattern, page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = without_code(page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_that_are_named_exist(page: Path) -> None:
    paths = set(re.findall(r"`((?:fastconv|tests|benchmarks|\.ci)/[\w./-]+)`", page.read_text(encoding="utf-8")))
    assert not [path for path in paths if not (ROOT / path).exists()]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=name)
def test_python_compiles(page: Path) -> None:
    for block in blocks(page):
        compile(block, name(page), "exec")


@pytest.mark.process
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, examples=True)], ids=name)
def test_examples_run(page: Path, tmp_path: Path) -> None:
    """All examples of a page, one after another, as a script."""
    missing = [module for module in NEEDS.get(page.name, ()) if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    script = tmp_path / "example.py"
    script.write_text("\n".join(blocks(page, examples=True)), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=580,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_pictures_are_those_that_are_drawn(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(DOCS / "pictures" / "draw.py"), str(tmp_path)], check=True)
    kept = {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "pictures").glob("*.svg")}
    assert kept == {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}


def test_figures_of_readme_are_measured() -> None:
    """Every ratio, time and share, and the whole table of LeNet-5, stands in a table that a script wrote."""
    text, measured = README.read_text(encoding="utf-8"), RESULTS.read_text(encoding="utf-8")
    figures = set(re.findall(r"\b\d+(?:\.\d+)?(?:x|%| ms| s| GFLOP/s)(?!\w)", text))
    assert len(figures) > 20
    assert not [figure for figure in figures if not re.search(rf"(?<![\d.]){re.escape(figure)}(?!\w)", measured)]
    table = re.search(r"<!-- lenet:begin -->.*<!-- lenet:end -->", text, re.DOTALL)
    assert table
    assert table[0] in measured


def test_readme_is_one_page_and_begins_with_the_two_commands() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 170
    assert re.findall(r"^```\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE)[:2] == [
        "pip install . && fastconv train",
        'pip install -e ".[test]" && python -m pytest -n auto --dist loadfile',
    ]
    # CI's script, which runs these two, knows blocks without a language and blocks of Python
    assert set(re.findall(r"^```(\w+)$", text, re.MULTILINE)) == {"python"}


def test_the_glossary_has_every_algorithm() -> None:
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    for algorithm, meaning in MEANINGS.items():
        assert re.search(rf"^\| {algorithm.name} \| [a-z ]+ \| {re.escape(meaning)} \|$", text, re.MULTILINE), (
            algorithm.name
        )


def test_every_extra_has_code() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert set(extras) == {*EXTRAS, "all", "test", "bench", "peers", "dev"}
    assert extras["all"] == [f"fastconv[{','.join(EXTRAS)}]"]
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "fastconv").rglob("*.py")]
    for module in EXTRAS.values():
        assert any(re.search(rf"^\s+(?:import|from) {module}\b", source, re.MULTILINE) for source in sources), module


@pytest.mark.filterwarnings("default")  # of the builder
def test_the_wheel_has_no_pages(tmp_path: Path) -> None:
    wheel = pytest.importorskip("hatchling.builders.wheel")
    (path,) = wheel.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = zipfile.ZipFile(path).namelist()
    assert "fastconv/__init__.py" in names
    assert "fastconv/data/digits.npz" in names
    assert not [name for name in names if name.startswith("fastconv/docs") or not name.startswith("fastconv")]


@pytest.mark.filterwarnings("default")  # of the builder
def test_a_wheel_has_machine_code_where_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = pytest.importorskip("hatchling.builders.wheel")
    code = tmp_path / "code"
    code.mkdir()
    (code / "x86-64-v9.code").write_bytes(b"archive")
    (path,) = wheel.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    assert Path(path).name.endswith("-py3-none-any.whl")
    monkeypatch.setenv("FASTCONV_MACHINE_CODE", str(code))
    (path,) = wheel.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    assert f"-cp{sys.version_info[0]}{sys.version_info[1]}-" in Path(path).name and "-any" not in path
    with zipfile.ZipFile(path) as archive:
        assert archive.read("fastconv/machine_code/x86-64-v9.code") == b"archive"
