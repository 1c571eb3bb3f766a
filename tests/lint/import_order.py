"""Checks that modules import only what is below them, in Rust and in Python.

Rust: the table in src/lib.rs lists the top modules from low to high. In a folder, files may import
each other but form no cycle; what a file imports from its folder's mod.rs counts for the file that
mod.rs re-exports it from. Python: `PYTHON` lists the modules from low to high. Imports in functions
and under `TYPE_CHECKING` count too.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

# Modules of python/backcast, from low to high. A name stands for a module or for a whole package;
# those of one line may import each other in any way that forms no cycle.
PYTHON = (
    "errors _brief",
    "_warn _regular",
    "_libtorch",
    "_engine",
    "_core",
    "_parameters",
    "data",
    "_training",
    "_estimator",
    "_torch",
    "model",
    "_inner",
    "classifier embedding forecast",
    "anomaly",
    "_suggest",
    "plot",
    "__init__",
    "commands",
    "experiments",
    "demo paper",
    "__main__",
)


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """Return the nodes of a cycle, the first one again at the end; nothing if there is none."""
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node not in done:
            for other in sorted(graph.get(node, ())):
                if found := visit(other, [*path, node]):
                    return found
            done.add(node)
        return []

    return next((found for node in sorted(graph) if (found := visit(node, []))), [])


# -- Rust ------------------------------------------------------------------------------------------


def rust_code(text: str) -> str:
    """Remove comments and strings, and inline tests."""
    text = re.sub(r"//[^\n]*", "", text)
    text = re.sub(r'"(?:\\.|[^"\\])*"', '""', text, flags=re.S)
    return text.split("#[cfg(test)]\nmod ")[0]


def rust_paths(code: str) -> Iterator[tuple[str, ...]]:
    """Give every path that starts with `crate` or `super`, groups in braces taken apart."""
    for match in re.finditer(r"\b(?:crate|super)(?:\s*::\s*(?:\w+|(?=\{)))+", code):
        names = tuple(re.findall(r"\w+", match[0]))
        if code[match.end() :].lstrip(" :\n").startswith("{"):
            for inner in braces(code, code.index("{", match.end())):
                yield names + inner
        else:
            yield names


def braces(code: str, start: int) -> Iterator[tuple[str, ...]]:
    """Give the paths in the group that opens at `start`."""
    depth, prefixes, names = 0, [], []
    for token in re.findall(r"\w+|[{},]", code[start:]):
        if token == "{":
            depth += 1
            prefixes.append(tuple(names))
            names = []
        elif token in ",}":
            if names:
                yield tuple(name for prefix in prefixes for name in prefix) + tuple(names)
            names = []
            if token == "}":
                depth -= 1
                prefixes.pop()
                if not depth:
                    return
        elif token == "as":
            continue
        else:
            names.append(token)


def rust_order(library: str) -> list[str]:
    """Read the table of modules in src/lib.rs."""
    return re.findall(r"^//! \| `(\w+)` \|", library, flags=re.M)


def check_rust(source: Path) -> list[str]:
    """Return what is wrong in a folder of Rust sources that holds lib.rs."""
    order = rust_order((source / "lib.rs").read_text())
    files = [path for path in sorted(source.rglob("*.rs")) if path != source / "lib.rs"]
    # The path of each module: mod.rs stands for its folder.
    modules = {}
    for path in files:
        parts = path.relative_to(source).with_suffix("").parts
        modules[parts[:-1] if parts[-1] == "mod" else parts] = path
    tops = {module[0] for module in modules}
    problems = [f"src/lib.rs: `{top}` is missing in the table" for top in sorted(tops - {*order})]
    problems += [f"src/lib.rs: `{top}` is no module" for top in sorted({*order} - tops)]
    exported: dict[tuple[str, ...], dict[str, str]] = {}
    for module, path in modules.items():
        if path.name == "mod.rs":
            exports = exported.setdefault(module, {})
            for child, group in re.findall(
                r"pub(?:\([^)]*\))? use (?:self::)?(\w+)::(\{[^}]*\}|\w+)",
                rust_code(path.read_text()),
            ):
                exports |= dict.fromkeys(re.findall(r"\w+", group), child)

    siblings: dict[tuple[str, ...], dict[str, set[str]]] = {}
    for module, path in modules.items():
        is_folder = path.name == "mod.rs"
        for names in rust_paths(rust_code(path.read_text())):
            target = names[1:] if names[0] == "crate" else module
            rest = list(names)
            if names[0] == "super":
                # A path in a folder's mod.rs starts from the folder itself.
                while rest and rest[0] == "super":
                    target, rest = target[:-1], rest[1:]
                target = (*target, *rest)
            if not target:
                continue
            here, there = module[0], target[0]
            if here in order and there in order and order.index(there) > order.index(here):
                problems.append(
                    f"{path}: `{here}` imports `{'::'.join(target)}`, and `{there}` is above it"
                )
            # The folder in which both paths part.
            shared = 0
            while shared < min(len(module), len(target)) and module[shared] == target[shared]:
                shared += 1
            if shared == 0 or shared >= len(module) or shared >= len(target):
                continue
            folder, own, other = module[:shared], module[shared], target[shared]
            if (*folder, other) not in modules:
                other = exported.get(folder, {}).get(other, "")
            if other and other != own and not (is_folder and module == folder):
                siblings.setdefault(folder, {}).setdefault(own, set()).add(other)
    for folder, graph in sorted(siblings.items()):
        if found := cycle(graph):
            problems.append(f"{'/'.join(('src', *folder))}: cycle {' -> '.join(found)}")
    return problems


# -- Python ----------------------------------------------------------------------------------------


def python_imports(tree: ast.AST, package: str, own: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Give the modules of the package that a module imports, by their path in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = (package, *own)[: len(own) + 1 - node.level]
                base = ".".join([*up, base]).rstrip(".")
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            first, *rest = name.split(".")
            if first == package:
                yield tuple(rest)


def check_python(package: Path, order: tuple[str, ...]) -> list[str]:
    """Return what is wrong in a Python package whose modules have this order."""
    rank = {name: place for place, names in enumerate(order) for name in names.split()}
    modules = {}
    for path in sorted([*package.rglob("*.py"), *package.glob("*.pyi")]):
        parts = path.relative_to(package).with_suffix("").parts
        modules[parts] = path
    tops = {module[0] for module in modules}
    problems = [f"{package.name}.{top} has no place in the order" for top in sorted(tops - {*rank})]
    problems += [f"{package.name}.{top} is no module" for top in sorted({*rank} - tops)]
    graphs: dict[tuple[str, ...], dict[str, set[str]]] = {}
    for module, path in modules.items():
        for target in python_imports(ast.parse(path.read_text()), package.name, module):
            # A name that is no module is in the package's own __init__.
            there = target[0] if target and target[0] in rank else "__init__"
            here = module[0]
            if here not in rank:
                continue
            if rank[there] > rank[here]:
                problems.append(f"{path}: `{here}` imports `{there}`, which is above it")
            if here != there:
                graphs.setdefault((), {}).setdefault(here, set()).add(there)
            elif len(module) > 1 and len(target) > 1 and module[1] != target[1]:
                known = (here, target[1]) in modules or (here, target[1], "__init__") in modules
                if module[1] != "__init__" and known:
                    graphs.setdefault((here,), {}).setdefault(module[1], set()).add(target[1])
    for folder, graph in sorted(graphs.items()):
        if found := cycle(graph):
            problems.append(f"{'.'.join((package.name, *folder))}: cycle {' -> '.join(found)}")
    return problems


def main() -> int:
    """Check this repository."""
    root = Path(__file__).resolve().parents[2]
    problems = check_rust(root / "src")
    problems += check_python(root / "python" / "backcast", PYTHON)
    for problem in problems:
        print(problem, file=sys.stderr)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
