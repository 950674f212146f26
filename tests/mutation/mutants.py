"""The small faults that are planted in a module, one at a time.

A mutant is one changed node of the module's syntax tree. What is changed, and what is left alone and why, stands in
docs/mutation.md; the functions below are its rows. Nothing here imports what it mutates.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType
from typing import Any, Final

from attrs import evolve, field, frozen

__all__ = ["Mutant", "compiled", "enums_of", "mutants_of"]

_COMPARISONS: Final[Mapping[type[ast.cmpop], Sequence[type[ast.cmpop]]]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_OPERATORS: Final[Mapping[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_TWINS: Final[Mapping[str, str]] = {
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "sorted": "list",
    "startswith": "endswith",
    "endswith": "startswith",
}
_GONE: Final = ast.Pass()
# Two spaces make a sentence: it is for people to read, and no test should have to spell it.
_SENTENCE_SPACES: Final = 2


@frozen
class Mutant:
    """One fault: in which function, on which line, what becomes what. `at` says where the tree is changed."""

    where: str
    line: str
    change: str
    lines: range  # of the statement that it is in
    in_function: bool  # or else it runs when the module is imported
    at: tuple[Any, str, int | None, Any] = field(repr=False, eq=False)

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is known by in the reviewed list: its line's text, not its number, which moves."""
        return self.where, self.line, self.change


@frozen
class _Place:
    """Where a node stands."""

    parent: ast.AST
    field: str
    index: int | None
    where: tuple[str, ...] = ()
    lines: range = range(0)
    inside: bool = False  # a function's body

    def into(self, parent: ast.AST, name: str, index: int | None) -> _Place:
        return evolve(self, parent=parent, field=name, index=index)


Change = tuple[str, tuple[ast.AST, str, "int | None", Any]]


def mutants_of(
    source: str, enums: Mapping[str, Sequence[str]], only: Sequence[str] = ()
) -> tuple[ast.Module, list[Mutant]]:
    """The tree of `source` and all its mutants; `only` names the functions to keep to, if not all."""
    tree = ast.parse(source)
    texts = source.splitlines()
    seen: Counter[tuple[str, str, str]] = Counter()
    found = []
    for node, place in _nodes(tree):
        if only and (not place.where or place.where[0] not in only):
            continue
        for change, at in _changes(node, place, enums):
            text = texts[getattr(node, "lineno", place.lines.start) - 1].strip()
            key = (".".join(place.where), text, change)
            seen[key] += 1
            change = change if seen[key] == 1 else f"{change}  (no. {seen[key]})"
            found.append(Mutant(key[0], text, change, place.lines, place.inside, at))
    return tree, found


def compiled(tree: ast.Module, path: str, mutant: Mutant | None = None) -> CodeType:
    """The module's code, with the mutant in it; the tree is as it was afterwards."""
    if mutant is None:
        return compile(tree, path, "exec")
    parent, name, index, new = mutant.at
    old = getattr(parent, name)
    changed = new if index is None else [*old[:index], *([] if new is None else [new]), *old[index + 1 :]]
    setattr(parent, name, changed)
    try:
        return compile(ast.fix_missing_locations(tree), path, "exec")
    finally:
        setattr(parent, name, old)


def enums_of(package: Path) -> dict[str, tuple[str, ...]]:
    """The members of every enum of a package, by the enum's name."""
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and any("Enum" in ast.unparse(base) for base in node.bases):
                members = [s.targets[0].id for s in node.body if isinstance(s, ast.Assign) and _is_name(s.targets[0])]
                found[node.name] = tuple(members)
    return found


def _is_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Name)


def _nodes(tree: ast.Module) -> Iterator[tuple[ast.AST, _Place]]:
    """Every node that may be changed, and where it stands."""
    yield from _below(tree, _Place(tree, "body", None))


def _below(node: ast.AST, place: _Place) -> Iterator[tuple[ast.AST, _Place]]:
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases", "type_comment", "format_spec", "keys"):
            continue
        deeper = place
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            deeper = evolve(place, where=(*place.where, node.name))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and name == "body":
            deeper = evolve(deeper, inside=True)
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST) and not _left_alone(child):
                stands = deeper.into(node, name, index)
                if isinstance(child, ast.stmt):
                    stands = evolve(stands, lines=range(child.lineno, (child.end_lineno or child.lineno) + 1))
                yield child, stands
                yield from _below(child, stands)


def _left_alone(node: ast.AST) -> bool:
    """Imports, doc strings, `__all__`, and log lines."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    if isinstance(node, ast.Expr):
        call = node.value
        return isinstance(call, ast.Constant) or (isinstance(call, ast.Call) and _called(call).startswith("logger."))
    return isinstance(node, ast.Assign) and _is_name(node.targets[0]) and node.targets[0].id == "__all__"  # type: ignore[attr-defined]


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func)


def _changes(node: ast.AST, place: _Place, enums: Mapping[str, Sequence[str]]) -> Iterator[Change]:
    """What a node may become: what is said of it, and where the tree is changed."""
    for new in _replacements(node, place, enums):
        gone = isinstance(new, ast.Pass)
        said = f"- {_said(node)}" if gone else f"{_said(node)} → {_said(new)}"
        yield said, (place.parent, place.field, place.index, new)
    yield from _drops(node)


def _said(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())


def _replacements(node: ast.AST, place: _Place, enums: Mapping[str, Sequence[str]]) -> Iterator[ast.AST]:
    match node:
        case ast.Compare():
            yield from _compared(node)
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(ast.And() if isinstance(op, ast.Or) else ast.Or(), values)
            for dropped in range(len(values)):
                rest = [*values[:dropped], *values[dropped + 1 :]]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(op, rest)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.BinOp(op=op) if type(op) in _OPERATORS:
            yield ast.BinOp(node.left, _OPERATORS[type(op)](), node.right)
        case ast.Constant():
            yield from (ast.Constant(value) for value in _constants(node.value, place))
        case ast.Attribute(value=ast.Name(id=name), ctx=ast.Load()) if node.attr in enums.get(name, ()):
            members = enums[name]
            other = members[(members.index(node.attr) + 1) % len(members)]
            yield ast.Attribute(node.value, other, ast.Load())
        case ast.Call(func=ast.Name(id=name)) if name in _TWINS:
            yield ast.Call(ast.Name(_TWINS[name], ast.Load()), node.args, node.keywords)
        case ast.Call(func=ast.Attribute(attr=name)) if name in _TWINS:
            yield ast.Call(ast.Attribute(node.func.value, _TWINS[name], ast.Load()), node.args, node.keywords)  # type: ignore[attr-defined]
        case ast.stmt():
            yield from _statements(node, place)
    if _is_condition(place) and not isinstance(node, ast.Constant):
        yield ast.Constant(True)
        if not isinstance(place.parent, ast.comprehension):
            yield ast.Constant(False)


def _is_condition(place: _Place) -> bool:
    if place.field == "test":
        return isinstance(place.parent, ast.If | ast.IfExp | ast.While)
    return place.field in ("ifs", "guard")


def _compared(node: ast.Compare) -> Iterator[ast.AST]:
    for i, op in enumerate(node.ops):
        for other in _COMPARISONS[type(op)]:
            yield ast.Compare(node.left, [*node.ops[:i], other(), *node.ops[i + 1 :]], node.comparators)


def _constants(value: object, place: _Place) -> Iterator[Any]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield value + 1
        if place.inside:
            yield value - 1
    elif isinstance(value, str):
        whole = value
        if isinstance(place.parent, ast.JoinedStr):
            whole = "".join(str(part.value) for part in place.parent.values if isinstance(part, ast.Constant))
        if whole.count(" ") < _SENTENCE_SPACES:
            yield value + "XX"


def _statements(node: ast.stmt, place: _Place) -> Iterator[ast.AST]:
    alone = isinstance(place.parent, ast.If) and len(getattr(place.parent, place.field)) == 1
    match node:
        case ast.Return(value=value) if value is not None:
            if not isinstance(value, ast.Constant):
                yield ast.Return(ast.Constant(None))
            if not alone and not isinstance(place.parent, ast.FunctionDef | ast.AsyncFunctionDef):
                yield _GONE
        case ast.AugAssign(op=op):
            if type(op) in _OPERATORS:
                yield ast.AugAssign(node.target, _OPERATORS[type(op)](), node.value)
            yield _GONE
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript() | ast.Tuple()]) if place.inside:
            if not isinstance(node.targets[0], ast.Tuple) or not all(map(_is_name, node.targets[0].elts)):
                yield _GONE
        case ast.Continue():
            yield ast.Break()
        case ast.Expr() | ast.Raise() | ast.Delete() | ast.Break():
            yield _GONE


def _drops(node: ast.AST) -> Iterator[Change]:
    """Elements that are left out: of sets, of tables, of `in (…)`, of alternatives; and keyword arguments."""
    match node:
        case ast.Set(elts=elts) | ast.MatchOr(patterns=elts) if len(elts) > 1:
            name = "elts" if isinstance(node, ast.Set) else "patterns"
            for i, one in enumerate(elts):
                if not isinstance(one, ast.Starred):
                    yield f"- {_said(one)} of {len(elts)}", (node, name, i, None)
        case ast.Compare(ops=[ast.In() | ast.NotIn()], comparators=[ast.Tuple(elts=elts) as inner]) if len(elts) > 1:
            for i, one in enumerate(elts):
                yield f"- {_said(one)} of {len(elts)}", (inner, "elts", i, None)
        case ast.Assign(value=ast.Tuple(elts=elts) as inner) | ast.AnnAssign(value=ast.Tuple(elts=elts) as inner):
            if all(isinstance(t, ast.Name) for t in getattr(node, "targets", [getattr(node, "target", None)])):
                for i, one in enumerate(elts):
                    yield f"- {_said(one)} of {len(elts)}", (inner, "elts", i, None)
        case ast.ExceptHandler(type=ast.Tuple(elts=elts) as inner) if len(elts) > 1:
            for i, one in enumerate(elts):
                yield f"- {_said(one)} of {len(elts)}", (inner, "elts", i, None)
        case ast.Dict(keys=keys, values=values) if len(keys) > 1:
            for i, key in enumerate(keys):
                if key is not None:
                    less = ast.Dict([*keys[:i], *keys[i + 1 :]], [*values[:i], *values[i + 1 :]])
                    yield f"- {_said(key)} of {len(keys)}", (node, "__dict__", None, {**vars(node), **vars(less)})
        case ast.Call(keywords=keywords):
            for i, keyword in enumerate(keywords):
                if keyword.arg is not None:
                    yield f"- {keyword.arg}= of {_called(node)}", (node, "keywords", i, None)
