"""Public functions and classes say what they take, return and raise, and docs/api.md shows them."""

import ast
import re
from pathlib import Path

import pytest

import vaegan
from vaegan.cli import COMMANDS
from vaegan.inference.model import Model

SOURCE = Path(vaegan.__file__).parent
API_PAGE = Path(__file__).parents[2] / "docs" / "api.md"
SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises")
HELP_TEXTS = {command.__name__ for command in COMMANDS}  # --help shows the docstring of a command
MAX_FIRST_LINE = 100


def public_nodes(module):
    """Yield the public classes and functions of a module, and the methods of these classes, by qualified name."""
    for node in ast.parse(module.read_text()).body:
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) or node.name.startswith("_"):
            continue
        yield node.name, node
        for member in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(member, (ast.FunctionDef, ast.AsyncFunctionDef)) and not member.name.startswith("_"):
                yield f"{node.name}.{member.name}", member


def parse_docstring(docstring):
    """Return the sections of a docstring: their entries as a list, or their text."""
    sections = {}
    for name in SECTIONS:
        match = re.search(rf"^{name}:\n((?:    .*\n?|\n)+)", docstring, flags=re.MULTILINE)
        if match:
            sections[name] = re.findall(r"^    (\*{0,2}[\w.]+):", match[1], flags=re.MULTILINE)
    return sections


def parameters(function):
    arguments = function.args
    names = [arg.arg for arg in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    names += [f"*{arguments.vararg.arg}"] if arguments.vararg else []
    names += [f"**{arguments.kwarg.arg}"] if arguments.kwarg else []
    return [name for name in names if name not in ("self", "cls")]


def raised_errors(node, caught=frozenset()):
    """Yield the names of the errors that a function raises and does not catch itself."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            continue
        if isinstance(child, ast.Raise) and child.exc is not None:
            error = child.exc.func if isinstance(child.exc, ast.Call) else child.exc
            name = ast.unparse(error)
            # names in lower case are variables or functions that make an error
            if name not in caught and name[0].isupper():
                yield name
        if isinstance(child, ast.Try):
            names = {
                name
                for handler in child.handlers
                if handler.type
                for name in re.findall(r"\w+", ast.unparse(handler.type))
            }
            for part in child.body:
                yield from raised_errors(ast.Module([part], []), caught | names)
            for part in (*child.handlers, *child.orelse, *child.finalbody):
                yield from raised_errors(part, caught)
        else:
            yield from raised_errors(child, caught)


def is_property(function):
    return any("property" in ast.unparse(decorator) for decorator in function.decorator_list)


def problems(name, node, is_command):
    docstring = ast.get_docstring(node)
    if not docstring:
        return [f"{name} has no docstring"]
    found = []
    if len(docstring.splitlines()[0]) > MAX_FIRST_LINE:
        found.append(f"{name}: the first line is longer than {MAX_FIRST_LINE} characters")
    if isinstance(node, ast.ClassDef) or is_property(node) or is_command:
        return found
    sections = parse_docstring(docstring)
    if sorted(sections.get("Args", [])) != sorted(parameters(node)):
        found.append(f"{name}: Args are {sections.get('Args', [])}, expected {parameters(node)}")
    has_result = node.returns is not None and ast.unparse(node.returns) not in ("None", "Never")
    if has_result != ("Returns" in sections or "Yields" in sections):
        found.append(f"{name}: Returns is missing, or there is nothing to return")
    missing = set(raised_errors(node)) - set(sections.get("Raises", []))
    if missing:
        found.append(f"{name}: Raises lacks {', '.join(sorted(missing))}")
    return found


MODULES = sorted(path for path in SOURCE.rglob("*.py") if any(True for _ in public_nodes(path)))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_docstrings_are_complete(module):
    is_cli = module.parent.name == "cli"
    found = [
        problem
        for name, node in public_nodes(module)
        for problem in problems(name, node, is_cli and name in HELP_TEXTS)
    ]
    assert not found, "\n".join(found)


def test_the_check_finds_what_is_missing():
    code = '''
def f(a, *b, c=1) -> int:
    """Do it.

    Args:
        a: one.
        *b: two.
    """
    try:
        raise KeyError
    except KeyError:
        raise VaeganError("x") from None
'''
    (node,) = ast.parse(code).body
    assert len(problems("f", node, False)) == 3
    assert set(raised_errors(node)) == {"VaeganError"}


@pytest.mark.skipif(not API_PAGE.is_file(), reason="the source tree is not here")
def test_every_public_function_is_on_the_page():
    text = API_PAGE.read_text()
    directives = dict(re.findall(r"^::: ([\w.]+)\n((?:    .*\n)*)", text + "\n", flags=re.MULTILINE))
    for name in vaegan.__all__:
        assert name == "__version__" or f"vaegan.{name}" in directives, name
    for module in MODULES:
        parts = ("vaegan", *module.relative_to(SOURCE).with_suffix("").parts)
        if parts[1] == "cli":  # the README and --help describe the commands
            continue
        names = [".".join(parts[:length]) for length in range(2, len(parts) + 1)]
        is_shown = names[-1] in directives or any("show_submodules" in directives.get(name, "") for name in names)
        assert is_shown, f"docs/api.md does not show {names[-1]}"


@pytest.mark.skipif(not API_PAGE.is_file(), reason="the source tree is not here")
def test_the_tables_show_the_public_names_and_the_methods_of_a_model():
    rows = re.findall(r"^\| `(vaegan\.)?(\w+)[(`]", API_PAGE.read_text(), flags=re.MULTILINE)
    methods = {name for name, method in vars(Model).items() if not name.startswith("_") and callable(method)}
    assert {name for package, name in rows if package} == set(vaegan.__all__) - {"__version__"}
    assert {name for package, name in rows if not package} == methods
