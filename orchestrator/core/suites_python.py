"""Test files in Python, as pytest and unittest see them: read by `ast`, never run."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile

from orchestrator.core.suites import Case, Flaw, FlawKind, Suite

_CODING = re.compile(rb"[ \t\f]*#.*?coding[:=][ \t]*([-A-Za-z0-9_.]+)")
_QUICK = re.compile(r"utf|latin|iso|l\d|ascii|us-ascii|cp\d|windows|mac|koi8|gb|big5|euc|shift|sjis|tis")
"""Encodings of programs. Others, such as punycode, take the square of a text's length to be read."""

_SKIPS = frozenset({"skip", "skipif", "xfail", "skipIf", "skipUnless", "expectedFailure", "importorskip"})
_CONDITIONAL = frozenset({"skipif", "skipIf", "skipUnless", "importorskip"})
_STOPS = frozenset({"skip", "xfail", "skipTest", "importorskip", "exit", "_exit", "quit", "SkipTest"})
"""What ends a test that calls or raises it, without failing it."""
_CATCHES_ALL = frozenset({"AssertionError", "Exception", "BaseException"})
_CATCHERS = frozenset({"suppress", "raises", "assertRaises", "assertRaisesRegex"})
_CIRCUMSTANCES = ("os.environ", "os.getenv", "environ", "getenv", "sys.platform", "sys.version", "os.name", "platform.")
_RUN_COROUTINES = (b"asyncio", b"anyio", b"trio", b"IsolatedAsyncio", b"AsyncTestCase", b"gen_test")
"""Whoever has coroutines run as tests names one of these."""
_ENDS = (ast.Return, ast.Raise, ast.Break, ast.Continue)
_LEAVES = (ast.Name, ast.Constant, ast.expr_context, ast.operator, ast.cmpop)
_Function = ast.FunctionDef | ast.AsyncFunctionDef


class PythonFile:
    """One version of a test file in Python."""

    def __init__(self, data: bytes) -> None:
        self.problem = ""
        self._lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._tests: dict[str, _Function] = {}
        self._flaws: list[Flaw] = []
        self._aliases: dict[str, bool] = {}
        """Names that stand for a mark that skips, and whether it does so in any case."""
        self._made: dict[str, bool] = {}
        """The functions of the file that are no tests, and whether they assert something."""
        self._imported: frozenset[str] = frozenset()
        self._awaits = any(word in data for word in _RUN_COROUTINES)
        self._guarded(lambda: self._read(_parse(data).body))

    def _read(self, body: list[ast.stmt]) -> None:
        made = [each for each in body if isinstance(each, _Function) and not each.name.startswith("test")]
        self._made = dict.fromkeys((each.name for each in made), False)
        for each in made:
            self._made[each.name] = any(tells for node in _live(each.body) for _, tells in self._assertions(node))
        names = (name for each in body if isinstance(each, ast.Import | ast.ImportFrom) for name in each.names)
        self._imported = frozenset(name.asname or name.name for name in names)
        self._block(body, "")

    def texts(self) -> frozenset[str]:
        """Every test, letter by letter."""
        return frozenset(self._text_of(name, node) for name, node in self._tests.items())

    def suite(self, known: frozenset[str] = frozenset()) -> Suite:
        """The tests, and what they assert, but for those whose text is known from another version."""
        cases: list[Case] = []
        wanted = [(name, node) for name, node in self._tests.items() if self._text_of(name, node) not in known]
        self._guarded(lambda: cases.extend(self._case(name, node) for name, node in wanted))
        if self.problem:
            return Suite(problem=self.problem)
        return Suite(tuple(cases), tuple(self._flaws), imports=self._imported, makes=frozenset(self._made))

    def _guarded(self, read: Callable[[], None]) -> None:
        try:
            read()
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            where = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
            self.problem = f"cannot be read as Python{where}"

    def _text_of(self, name: str, node: _Function) -> str:
        first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
        # A mark that has another meaning than before is another text too.
        marks = [_dotted(each) for each in node.decorator_list]
        head = [name, *(mark for mark in marks if mark in self._aliases)]
        # So is one that calls what asserts nothing any more.
        called = {_dotted(each.func) for each in ast.walk(node) if isinstance(each, ast.Call)}
        head += sorted(f"{each}?" for each in called & self._made.keys() if not self._made[each])
        return " ".join(head) + b"\n".join(self._lines[first - 1 : node.end_lineno]).decode("utf-8", "replace")

    # --- what is collected ---

    def _block(self, body: list[ast.stmt], prefix: str) -> None:
        own: set[str] = set()
        for node in body:
            if isinstance(node, ast.ClassDef) and _equals_anything(node):
                self._flaws.append(Flaw(FlawKind.TAUTOLOGY, node.lineno, f"{node.name} is equal to everything"))
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef() if node.name.startswith("test"):
                    # What is defined twice is collected once, as it was defined last.
                    self._tests[prefix + node.name] = node
                    if node.name in own:
                        text = f"{prefix}{node.name} is defined twice, and only the last is run"
                        self._flaws.append(Flaw(FlawKind.SKIPPED, node.lineno, text))
                    own.add(node.name)
                case ast.ClassDef() if node.name.startswith("Test") or node.bases:
                    self._marked(node.decorator_list, node.name)
                    self._block(node.body, f"{prefix}{node.name}.")
                case ast.If() if not _is_main(node.test):
                    self._block([] if _is_false(node.test) else node.body, prefix)
                    self._block([] if _is_true(node.test) else node.orelse, prefix)
                case ast.Try() | ast.With():
                    self._block(node.body, prefix)
                case ast.Assign() | ast.AnnAssign():
                    self._assigned(node, prefix)
                case ast.Delete():
                    for target in node.targets:
                        self._tests.pop(prefix + _dotted(target), None)
                case ast.Expr() | ast.Raise():
                    self._stopped(node, prefix)

    def _assigned(self, node: ast.Assign | ast.AnnAssign, prefix: str) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        where = prefix.rstrip(".") or "the file"
        for name in (_dotted(each) for each in targets):
            self._tests.pop(prefix + name, None)
            if name == "__test__" and node.value is not None and _is_false(node.value):
                self._flaws.append(Flaw(FlawKind.SKIPPED, node.lineno, f"{where}: __test__ = False"))
            elif name == "pytestmark" and node.value is not None:
                self._marked([node.value], where)
            elif node.value is not None and (marks := list(self._skips([node.value]))):
                self._aliases[name] = marks[0].firm

    def _marked(self, marks: list[ast.expr], where: str) -> None:
        self._flaws += [Flaw(each.kind, each.line, f"{where}: {each.text}", each.firm) for each in self._skips(marks)]

    def _stopped(self, node: ast.stmt, prefix: str) -> None:
        """What stops the file itself from being collected."""
        name = _stop_of(node)
        if name and not prefix:
            firm = name.rpartition(".")[2] not in _CONDITIONAL
            self._flaws.append(Flaw(FlawKind.SKIPPED, node.lineno, f"the file: {name}", firm))

    def _skips(self, marks: Iterable[ast.expr]) -> Iterator[Flaw]:
        """Marks that skip, anywhere in these expressions: also on one set of parameters."""
        for mark in marks:
            for node in ast.walk(mark):
                if holder := _hidden_mark(node):
                    yield Flaw(FlawKind.SKIPPED, mark.lineno, f"getattr({holder}, …)")
                if not isinstance(node, ast.Name | ast.Attribute):
                    continue
                *before, name = _dotted(node).split(".")
                if name in _SKIPS and (not before or before[-1] in ("mark", "pytest", "unittest", "ut")):
                    yield Flaw(FlawKind.SKIPPED, node.lineno, name, _is_firm(mark, name))
                elif not before and name in self._aliases:
                    yield Flaw(FlawKind.SKIPPED, node.lineno, name, self._aliases[name])

    # --- one test ---

    def _case(self, name: str, node: _Function) -> Case:
        first = node.body[0].lineno - 1 if node.body else node.lineno
        body = (line.strip() for line in self._lines[first : node.end_lineno])
        lines = frozenset(line.decode("utf-8", "replace") for line in body if line and not line.startswith(b"#"))
        asserts, flaws = [], list(self._skips(node.decorator_list))
        if all(_is_nothing(each) for each in node.body):
            flaws.append(Flaw(FlawKind.EMPTY, node.lineno, "it does nothing"))
        if _is_generator(node.body):
            flaws.append(Flaw(FlawKind.SKIPPED, node.lineno, "it is a generator, which is not run as a test"))
        if isinstance(node, ast.AsyncFunctionDef) and not self._awaits:
            flaws.append(Flaw(FlawKind.SKIPPED, node.lineno, "a coroutine, which only a plugin runs", firm=False))
        nodes = list(_live(node.body))
        flaws += self._stops(node, nodes)
        # What is asserted under some circumstances only is not counted.
        asking = (each for each in nodes if isinstance(each, ast.If) and _asks_circumstances(each.test))
        sometimes = {id(below) for each in asking for below in ast.walk(each)}
        for each in nodes:
            for text, tells in self._assertions(each):
                if tells is False:
                    flaws.append(Flaw(FlawKind.TAUTOLOGY, getattr(each, "lineno", node.lineno), text))
                elif tells and id(each) not in sometimes:
                    asserts.append(text)
            if isinstance(each, ast.Try | ast.With) and self._swallows(each):
                flaws.append(Flaw(FlawKind.SWALLOWED, each.lineno, "an assertion that fails is caught"))
        return Case(name, node.lineno, lines, tuple(asserts), tuple(flaws), _size(node.decorator_list))

    def _stops(self, node: _Function, nodes: list[ast.AST]) -> Iterator[Flaw]:
        """What ends a test before its end."""
        for early in node.body[:-1]:
            if isinstance(early, ast.Return):
                yield Flaw(FlawKind.SKIPPED, early.lineno, "return before its end")
        own = {id(each) for each in node.body}
        for each in nodes:
            if isinstance(each, ast.Expr | ast.Raise) and (name := _stop_of(each)):
                firm = id(each) in own and name.rpartition(".")[2] not in _CONDITIONAL
                yield Flaw(FlawKind.SKIPPED, each.lineno, name, firm)

    def _text(self, node: ast.stmt | ast.expr) -> str:
        end = node.end_lineno or node.lineno
        rows = self._lines[node.lineno - 1 : end]
        if not rows:
            return ""
        rows[-1] = rows[-1][: node.end_col_offset]
        rows[0] = rows[0][node.col_offset :]
        return b" ".join(b" ".join(rows).split()).decode("utf-8", "replace")

    def _assertions(self, node: ast.AST) -> Iterator[tuple[str, bool | None]]:
        """An assertion in words, and what it tells: True much, None little, False nothing."""
        if isinstance(node, ast.Assert):
            # Without the words that go with it.
            yield f"assert {self._text(node.test)}", _tells(node.test)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in self._made:
            if self._made[node.func.id]:
                yield self._text(node), True
        elif isinstance(node, ast.Call) and (name := _dotted(node.func).rpartition(".")[2]):
            if name in ("raises", "warns", "assertRaises"):
                broad = [_dotted(each) in _CATCHES_ALL for each in node.args[:1]] == [True]
                yield self._text(node), None if broad and not node.keywords else True
            elif name.startswith(("assert", "expect", "verify")):
                yield self._text(node), _call_tells(name, node.args)

    def _swallows(self, node: ast.Try | ast.With) -> bool:
        if not any(True for each in _live(node.body) for _ in self._assertions(each)):
            return False
        if isinstance(node, ast.With):
            calls = [each.context_expr for each in node.items if isinstance(each.context_expr, ast.Call)]
            if any(isinstance(each, ast.Assert) for each in _live(node.body)):
                calls = [each for each in calls if _dotted(each.func).rpartition(".")[2] in _CATCHERS]
            else:
                # Whoever tests what asserts catches what it raises.
                calls = [each for each in calls if _dotted(each.func).endswith("suppress")]
            caught = [each for call in calls for each in call.args]
            return any(_dotted(each).rpartition(".")[2] in _CATCHES_ALL for each in caught)
        return any(self._lets_go(handler) for handler in node.handlers)

    def _lets_go(self, handler: ast.ExceptHandler) -> bool:
        kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type] if handler.type else []
        if kinds and not any(_dotted(each).rpartition(".")[2] in _CATCHES_ALL for each in kinds):
            return False
        found = list(_live(handler.body))
        fails = any(isinstance(each, ast.Call) and _dotted(each.func).endswith("fail") for each in found)
        asserts = any(True for each in found for _ in self._assertions(each))
        return not (fails or asserts or any(isinstance(each, ast.Raise) for each in found))


def _parse(data: bytes) -> ast.Module:
    for line in re.split(rb"\r\n?|\n", data, maxsplit=2)[:2]:
        said = _CODING.match(line)
        if said and not _QUICK.match(said[1].decode("ascii").lower()):
            raise ValueError("in an encoding that nobody writes code in")
    with warnings.catch_warnings():
        # Of what an agent wrote it is the tests that tell, not the parser.
        warnings.simplefilter("ignore")
        return ast.parse(data)


# --- expressions --------------------------------------------------------------------------------------------------


def _live(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Every node below these statements but those that are never reached."""
    ahead: list[ast.AST] = list(reversed(_reached(body)))
    while ahead:
        node = ahead.pop()
        yield node
        if isinstance(node, _LEAVES):
            continue
        for name, value in reversed(list(ast.iter_fields(node))):
            if isinstance(node, ast.If | ast.While) and name in ("body", "orelse"):
                dead = _is_false(node.test) if name == "body" else isinstance(node, ast.If) and _is_true(node.test)
                if dead:
                    continue
            if isinstance(node, ast.For | ast.AsyncFor) and name == "body" and _is_empty(node.iter):
                continue
            if isinstance(value, ast.AST):
                ahead.append(value)
            elif isinstance(value, list):
                nodes = [each for each in value if isinstance(each, ast.AST)]
                statements = [each for each in nodes if isinstance(each, ast.stmt)]
                ahead += reversed(_reached(statements) if statements else nodes)


def _is_empty(node: ast.expr) -> bool:
    """Whether there is nothing in it, whatever is tested."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        if node.func.id == "range":
            return all(isinstance(each, ast.Constant) and not each.value for each in node.args)
        return not node.args and node.func.id in ("list", "tuple", "set", "dict")
    return _is_false(node)


def _is_generator(body: list[ast.stmt]) -> bool:
    """Whether a function with this body yields: not one within it."""
    ahead: list[ast.AST] = [*body]
    while ahead:
        node = ahead.pop()
        if isinstance(node, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            ahead += ast.iter_child_nodes(node)
    return False


def _asks_circumstances(test: ast.expr) -> bool:
    """Whether a condition is about where and when the tests are run."""
    names = (_dotted(each) for each in ast.walk(test) if isinstance(each, ast.Name | ast.Attribute))
    return any(name.startswith(_CIRCUMSTANCES) for name in names)


def _equals_anything(node: ast.ClassDef) -> bool:
    """Whether a class compares equal with whatever there is."""
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and each.name == "__eq__":
            given = [below.value for below in ast.walk(each) if isinstance(below, ast.Return)]
            return bool(given) and all(value is not None and _is_true(value) for value in given)
    return False


def count_assertions(data: bytes) -> int | None:
    """How often a file of Python asserts something; None if it cannot be read."""
    try:
        nodes = list(ast.walk(_parse(data)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    calls = (_dotted(each.func).rpartition(".")[2] for each in nodes if isinstance(each, ast.Call))
    told = [each for each in nodes if isinstance(each, ast.Assert) and _tells(each.test) is not False]
    return len(told) + sum(name.startswith(("assert", "fail")) for name in calls)


def _reached(body: list[ast.stmt]) -> list[ast.stmt]:
    until = list(takewhile(lambda each: not isinstance(each, _ENDS), body))
    return body[: len(until) + 1]


def _dotted(node: ast.AST | None) -> str:
    """`pytest.mark.skip`; what is called or subscripted on the way is left out."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join([*([node.id] if isinstance(node, ast.Name) else []), *reversed(names)])


def _hidden_mark(node: ast.AST) -> str:
    """Of what `getattr` takes a mark: nobody writes one in this way who wants it to be read. '' if it does not."""
    if not isinstance(node, ast.Call) or _dotted(node.func) != "getattr" or not node.args:
        return ""
    holder = _dotted(node.args[0])
    return holder if holder.endswith("mark") or holder in ("pytest", "unittest") else ""


def _is_firm(mark: ast.expr, name: str) -> bool:
    """Whether a mark skips whatever the circumstances are."""
    arguments: list[ast.expr] = []
    if isinstance(mark, ast.Call) and _dotted(mark.func).endswith(name):
        arguments = [*mark.args[:1], *(each.value for each in mark.keywords if each.arg == "condition")]
    if name == "xfail":
        return not arguments or _is_true(arguments[0])
    if name == "skipUnless":
        return bool(arguments) and _is_false(arguments[0])
    return name not in _CONDITIONAL or (bool(arguments) and _is_true(arguments[0]))


def _stop_of(node: ast.stmt) -> str:
    """What a statement ends the test with, '' if it does not."""
    value = node.value if isinstance(node, ast.Expr) else node.exc if isinstance(node, ast.Raise) else None
    name = _dotted(value.func if isinstance(value, ast.Call) else value)
    if isinstance(node, ast.Expr) and not isinstance(value, ast.Call):
        return ""
    root, _, last = name.rpartition(".")
    return name if last in _STOPS and root in ("", "pytest", "self", "unittest", "sys", "os") else ""


def _is_main(test: ast.expr) -> bool:
    """Whether it asks if the file was started as a program, which no runner of tests does."""
    return any(isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(test))


def _is_nothing(node: ast.stmt) -> bool:
    match node:
        case ast.Pass():
            return True
        case ast.Expr(value=ast.Constant()) | ast.Return(value=None | ast.Constant()):
            return True
        case _:
            return False


def _is_true(node: ast.expr) -> bool:
    """Whether an expression is true whatever is tested."""
    match node:
        case ast.Constant():
            return bool(node.value)
        case ast.Tuple(elts=[_, *_]) | ast.List(elts=[_, *_]) | ast.Set() | ast.Dict(keys=[_, *_]) | ast.Lambda():
            return True
        case ast.UnaryOp(op=ast.Not()):
            return _is_false(node.operand)
        case ast.BoolOp(op=ast.Or()):
            return any(_is_true(each) for each in node.values)
        case ast.BoolOp(op=ast.And()):
            return all(_is_true(each) for each in node.values)
        case ast.NamedExpr():
            return _is_true(node.value)
        case ast.Compare(ops=[op], comparators=[right]):
            return _is_always(node.left, op, right)
        case ast.Call(func=ast.Name(id="isinstance"), args=[_, ast.Name(id="object")]):
            return True
        case ast.Call(func=ast.Name(id="bool"), args=[value]):
            return _is_true(value)
        case _:
            return False


def _is_false(node: ast.expr) -> bool:
    match node:
        case ast.Constant():
            return not node.value
        case ast.Tuple(elts=[]) | ast.List(elts=[]) | ast.Dict(keys=[]):
            return True
        case ast.UnaryOp(op=ast.Not()):
            return _is_true(node.operand)
        case ast.BoolOp(op=ast.And()):
            return any(_is_false(each) for each in node.values)
        case _:
            return False


def _is_always(left: ast.expr, op: ast.cmpop, right: ast.expr) -> bool:
    """Whether two sides compare so whatever is tested. One that is false instead fails, and its test with it."""
    if isinstance(left, ast.Constant) and isinstance(right, ast.Constant):
        return True
    if isinstance(op, ast.GtE) and isinstance(right, ast.Constant) and right.value == 0:
        return isinstance(left, ast.Call) and _dotted(left.func) == "len"
    return isinstance(op, ast.Eq | ast.Is | ast.LtE | ast.GtE) and _is_same(left, right)


def _is_same(left: ast.expr, right: ast.expr) -> bool:
    if any(isinstance(node, ast.Call | ast.Await) for node in ast.walk(left)):
        return False  # What is called twice may answer twice.
    return ast.dump(left) == ast.dump(right)


def _tells(node: ast.expr) -> bool | None:
    """What an assertion of this tells: True much, None little, False nothing."""
    if _is_true(node):
        return False
    match node:
        case ast.Name() | ast.Attribute() | ast.Subscript() | ast.Constant():
            return None
        case ast.Call(func=ast.Name(id="isinstance" | "hasattr" | "callable")):
            return None
        case ast.Compare(ops=[ast.IsNot() | ast.NotEq()], comparators=[ast.Constant(value=None)]):
            return None
        case ast.Compare(ops=[ast.Is() | ast.Eq()], comparators=[ast.Constant(value=True)]):
            return None
        case ast.Compare(left=ast.Call(func=ast.Name(id="len")), ops=[ast.Gt()], comparators=[ast.Constant(value=0)]):
            return None
        case ast.Compare(left=left, comparators=[right]) if "ANY" in (_last(left), _last(right)):
            return False
        case ast.Compare(left=left, comparators=[right]) if _is_loose(left) or _is_loose(right):
            return None
        case ast.Compare(left=left, ops=[op], comparators=[right]) if isinstance(op, ast.Eq | ast.Is):
            return None if ast.dump(left) == ast.dump(right) else True
        case _:
            return True


def _last(node: ast.expr) -> str:
    return _dotted(node).rpartition(".")[2]


def _is_loose(node: ast.expr) -> bool:
    """Whether it is an approximation that nearly everything comes near to."""
    if not isinstance(node, ast.Call) or _dotted(node.func).rpartition(".")[2] not in ("approx", "isclose"):
        return False
    wide = {key.arg: key.value.value for key in node.keywords if isinstance(key.value, ast.Constant)}
    value = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
    numbers = {name: float(each) for name, each in wide.items() if isinstance(each, int | float)}
    far = max(numbers.get("abs", 0.0), numbers.get("abs_tol", 0.0))
    share = max(numbers.get("rel", 0.0), numbers.get("rel_tol", 0.0))
    return share >= 0.5 or (isinstance(value, int | float) and far > abs(value) > 0)


def _call_tells(name: str, args: list[ast.expr]) -> bool | None:
    """The same for a call such as `self.assertEqual(a, b)`."""
    match name, args:
        case "assertTrue" | "assert_", [value, *_]:
            return _tells(value)
        case "assertFalse", [value, *_]:
            return not _is_false(value)
        case "assertEqual" | "assertEquals" | "assertIs" | "assertListEqual" | "assertDictEqual", [left, right, *_]:
            return _tells(ast.Compare(left, [ast.Eq()], [right]))
        case "assertIsNotNone", [value, *_]:
            return False if isinstance(value, ast.Constant) else None
        case "assertIsInstance", _:
            return None
        case _:
            return True


def _size(decorators: list[ast.expr]) -> int:
    size = 1
    for each in decorators:
        if isinstance(each, ast.Call) and _dotted(each.func).endswith("parametrize"):
            given = [*each.args[1:2], *(key.value for key in each.keywords if key.arg == "argvalues")]
            if given and isinstance(given[0], ast.List | ast.Tuple):
                size *= max(1, len(given[0].elts))
    return size
