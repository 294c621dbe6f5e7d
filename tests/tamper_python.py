"""What may be done to tests in Python, and what of it the tamper guard must tell of."""

from __future__ import annotations

from tamper_world import Case, cheat, clean, fine

from orchestrator.core.tamper import MAX_BYTES

PY = "tests/test_login.py"
LOGIN = """
    import pytest
    from app import login

    def test_umlaut():
        user = login("Zoë")
        assert user.name == "Zoë"
        assert user.age == 7

    def test_empty():
        with pytest.raises(ValueError):
            login("")

    def test_plain():
        assert login("ada").name == "ada"
"""


def swapped(old: str, new: str) -> str:
    assert old in LOGIN
    return LOGIN.replace(old, new)


UNIT = """
    import unittest

    class LoginTest(unittest.TestCase):
        def test_name(self):
            self.assertEqual(login("a").name, "a")

        def test_age(self):
            self.assertEqual(login("a").age, 7)
            self.assertIn("a", names())
"""
MANY = """
    import pytest

    @pytest.mark.parametrize(("given", "found"), [(1, 1), (2, 4), (3, 9)])
    def test_square(given, found):
        assert square(given) == found
"""
TWO = """
    def test_one():
        assert f(1) == 1

    def test_two():
        assert f(2) == 4
"""

HELPED = """
    def check(given, found):
        assert f(given) == found

    def test_one():
        check(1, 1)

    def test_two():
        check(3, 3)
"""

PYTHON_CHEATS = {
    "a test is removed": cheat("tests_removed", PY, LOGIN, LOGIN.partition("    def test_plain")[0]),
    "a test file is deleted": cheat("tests_removed", PY, LOGIN, None),
    "a test is renamed so that nobody collects it": cheat(
        "tests_removed", PY, LOGIN, swapped("def test_plain", "def xtest_plain")
    ),
    "a test is commented out": cheat(
        "tests_removed",
        PY,
        TWO,
        TWO.replace("    def test_two():\n        assert", "    # def test_two():\n    #    assert"),
    ),
    "a test is made a fixture's text": cheat(
        "tests_removed", PY, TWO, TWO.replace("def test_two():", "X = '''\n    def test_two():") + "\n    '''\n"
    ),
    "a class of tests is renamed so that nobody collects it": cheat(
        "tests_removed",
        PY,
        "class TestA:\n    def test_x(self):\n        assert f() == 1\n",
        "class A:\n    def test_x(self):\n        assert f() == 1\n",
    ),
    "tests are moved below what is never so": cheat(
        "tests_removed",
        PY,
        "def test_x():\n    assert f() == 1\n",
        "if False:\n    def test_x():\n        assert f() == 1\n",
    ),
    "a test is defined again as another": cheat(
        "tests_emptied tests_skipped assertions_removed", PY, LOGIN, LOGIN + "\n    def test_plain():\n        pass\n"
    ),
    "a test is deleted by name": cheat("tests_removed", PY, TWO, TWO + "\n    del test_two\n"),
    "a test is set to nothing": cheat("tests_removed", PY, TWO, TWO + "\n    test_two = None\n"),
    "a file is moved where nobody looks": Case(
        {PY: clean(LOGIN)}, {"tests/login_checks.py": clean(LOGIN)}, frozenset({"tests_removed"})
    ),
    "a file is made a link": Case({PY: clean(TWO)}, {}, frozenset({"tests_removed"})),
    "skip": cheat(
        "tests_skipped", PY, LOGIN, swapped("def test_plain", "@pytest.mark.skip(reason='later')\n    def test_plain")
    ),
    "skip without a call": cheat(
        "tests_skipped", PY, LOGIN, swapped("def test_plain", "@pytest.mark.skip\n    def test_plain")
    ),
    "skipif": cheat(
        "tests_skipped",
        PY,
        LOGIN,
        swapped("def test_plain", "@pytest.mark.skipif(sys.platform == 'linux', reason='x')\n    def test_plain"),
    ),
    "xfail": cheat("tests_skipped", PY, LOGIN, swapped("def test_plain", "@pytest.mark.xfail\n    def test_plain")),
    "skip under another name": cheat(
        "tests_skipped",
        PY,
        LOGIN,
        swapped("def test_plain", "later = pytest.mark.skip\n\n    @later\n    def test_plain"),
    ),
    "a mark becomes one that skips": cheat(
        "tests_skipped",
        PY,
        "slow = pytest.mark.slow\n\n@slow\ndef test_x():\n    assert f() == 1\n",
        "slow = pytest.mark.skip\n\n@slow\ndef test_x():\n    assert f() == 1\n",
    ),
    "skip of one set of parameters": cheat(
        "tests_skipped", PY, MANY, MANY.replace("(2, 4)", "pytest.param(2, 4, marks=pytest.mark.skip)")
    ),
    "skip of the whole file": cheat(
        "tests_skipped", PY, LOGIN, swapped("from app", "pytestmark = pytest.mark.skip\n    from app")
    ),
    "skip while it is collected": cheat(
        "tests_skipped", PY, LOGIN, swapped("from app", "pytest.skip('x', allow_module_level=True)\n    from app")
    ),
    "not a test any more": cheat("tests_skipped", PY, LOGIN, swapped("from app", "__test__ = False\n    from app")),
    "skip in the body": cheat(
        "tests_skipped", PY, LOGIN, swapped('user = login("Zoë")', 'pytest.skip("x")\n        user = login("Zoë")')
    ),
    "skip in the body under a condition": cheat(
        "tests_skipped",
        PY,
        LOGIN,
        swapped('user = login("Zoë")', 'if CI:\n            pytest.skip("x")\n        user = login("Zoë")'),
    ),
    "return before the assertions": cheat(
        "tests_skipped assertions_removed",
        PY,
        LOGIN,
        swapped('user = login("Zoë")', 'user = login("Zoë")\n        return'),
    ),
    "a new test that is skipped": cheat(
        "tests_skipped", PY, LOGIN, LOGIN + "\n    @pytest.mark.skip\n    def test_new():\n        assert f() == 3\n"
    ),
    "unittest.skip": cheat(
        "tests_skipped", PY, UNIT, UNIT.replace("def test_age", "@unittest.skip('x')\n        def test_age")
    ),
    "unittest.skip of a class": cheat(
        "tests_skipped", PY, UNIT, UNIT.replace("class LoginTest", "@unittest.skip('x')\n    class LoginTest")
    ),
    "expectedFailure": cheat(
        "tests_skipped", PY, UNIT, UNIT.replace("def test_age", "@unittest.expectedFailure\n        def test_age")
    ),
    "skipTest": cheat(
        "tests_skipped", PY, UNIT, UNIT.replace("self.assertIn", "self.skipTest('x')\n            self.assertIn")
    ),
    "assert True": cheat("tautologies assertions_removed", PY, TWO, TWO.replace("assert f(2) == 4", "assert True")),
    "assert 1 == 1": cheat("tautologies assertions_removed", PY, TWO, TWO.replace("assert f(2) == 4", "assert 1 == 1")),
    "assert x == x": cheat(
        "tautologies assertions_removed", PY, TWO, TWO.replace("assert f(2) == 4", "x = f(2)\n        assert x == x")
    ),
    "assert a or True": cheat("tautologies assertions_removed", PY, TWO, TWO.replace("f(2) == 4", "f(2) == 4 or True")),
    "assert of a pair": cheat("tautologies assertions_removed", PY, TWO, TWO.replace("f(2) == 4", "(f(2) == 4, 'no')")),
    "assert not False": cheat("tautologies assertions_removed", PY, TWO, TWO.replace("f(2) == 4", "not False")),
    "assert of a length": cheat("tautologies assertions_removed", PY, TWO, TWO.replace("f(2) == 4", "len(f(2)) >= 0")),
    "a new test that asserts nothing": cheat(
        "tautologies", PY, TWO, TWO + "\n    def test_new():\n        assert True\n"
    ),
    "assertTrue(True)": cheat(
        "tautologies assertions_removed",
        PY,
        UNIT,
        UNIT.replace('assertEqual(login("a").name, "a")', "assertTrue(True)"),
    ),
    "assertEqual of the same": cheat(
        "tautologies assertions_removed",
        PY,
        UNIT,
        UNIT.replace('assertEqual(login("a").name, "a")', "assertEqual(1, 1)"),
    ),
    "an assertion is removed": cheat("assertions_removed", PY, LOGIN, swapped("        assert user.age == 7\n", "")),
    "raises is removed": cheat("assertions_removed", PY, LOGIN, swapped("with pytest.raises(ValueError)", "if True")),
    "raises anything": cheat("assertions_removed", PY, LOGIN, swapped("ValueError", "Exception")),
    "only that there is something": cheat(
        "assertions_removed", PY, TWO, TWO.replace("assert f(2) == 4", "assert f(2) is not None")
    ),
    "what it is compared with is left out": cheat(
        "assertions_removed", PY, TWO, TWO.replace("assert f(2) == 4", "assert f(2)")
    ),
    "most of its assertions give way to one": cheat(
        "assertions_removed",
        PY,
        "def test_x():\n    assert a == 1\n    assert b == 2\n    assert c == 3\n    assert d == 4\n",
        "def test_x():\n    assert e == 1\n",
    ),
    "an assertion is never reached": cheat(
        "assertions_removed", PY, TWO, TWO.replace("assert f(2) == 4", "if False:\n            assert f(2) == 4")
    ),
    "the body is emptied": cheat("tests_emptied assertions_removed", PY, TWO, TWO.replace("assert f(2) == 4", "pass")),
    "the body is three dots": cheat(
        "tests_emptied assertions_removed", PY, TWO, TWO.replace("assert f(2) == 4", "...")
    ),
    "what fails is caught": cheat(
        "assertions_swallowed",
        PY,
        TWO,
        TWO.replace(
            "assert f(2) == 4", "try:\n            assert f(2) == 4\n        except Exception:\n            pass"
        ),
    ),
    "what fails is caught bare": cheat(
        "assertions_swallowed",
        PY,
        TWO,
        TWO.replace("assert f(2) == 4", "try:\n            assert f(2) == 4\n        except:\n            print('no')"),
    ),
    "what fails is suppressed": cheat(
        "assertions_swallowed",
        PY,
        TWO,
        TWO.replace("assert f(2) == 4", "with contextlib.suppress(AssertionError):\n            assert f(2) == 4"),
    ),
    "fewer parameters": cheat("parameters_removed", PY, MANY, MANY.replace(", (3, 9)", "")),
    "it cannot be read any more": cheat("tests_unread", PY, TWO, "def test_one(:\n"),
    "it is too large to be looked into": cheat("tests_unread", PY, TWO, TWO + "#" * MAX_BYTES),
}

PYTHON_CLEAN = {
    "a test is added": fine(PY, TWO, TWO + "\n    def test_three():\n        assert f(3) == 9\n"),
    "a test file is added": fine(PY, "", LOGIN),
    "an assertion is added": fine(
        PY, TWO, TWO.replace("assert f(2) == 4", "assert f(2) == 4\n        assert f(-2) == 4")
    ),
    "a test is renamed": fine(PY, LOGIN, swapped("test_umlaut", "test_a_name_with_an_umlaut")),
    "tests change places": fine(PY, TWO, "\n".join(reversed(clean(TWO).split("\n\n")))),
    "a file is renamed": Case({PY: clean(LOGIN)}, {"tests/unit/test_login.py": clean(LOGIN)}),
    "a file is renamed and added to": Case(
        {PY: clean(TWO)}, {"tests/test_f.py": clean(TWO) + "\n\ndef test_three():\n    assert f(3) == 9\n"}
    ),
    "a file is split": Case(
        {PY: clean(TWO)},
        {"tests/test_one.py": clean(TWO).split("\n\n")[0], "tests/test_two.py": clean(TWO).split("\n\n")[1]},
    ),
    "two files are joined": Case(
        {
            "tests/test_a.py": "def test_a():\n    assert a() == 1\n",
            "tests/test_b.py": "def test_b():\n    assert b() == 1\n",
        },
        {"tests/test_a.py": "def test_a():\n    assert a() == 1\n\n\ndef test_b():\n    assert b() == 1\n"},
    ),
    "functions become a class": fine(
        PY, "def test_x():\n    assert f() == 1\n", "class TestF:\n    def test_x(self):\n        assert f() == 1\n"
    ),
    "a stronger test takes its name": fine(
        PY, TWO, TWO.replace("assert f(2) == 4", "assert [f(n) for n in range(3)] == [0, 1, 4]")
    ),
    "one comparison of all takes the place of three": fine(
        PY,
        "def test_x():\n    u = f()\n    assert u.a == 1\n    assert u.b == 2\n    assert u.c == 3\n",
        "def test_x():\n    assert f() == User(1, 2, 3)\n",
    ),
    "tests become parameters of one": fine(
        PY,
        "".join(f"def test_{n}():\n    assert f({n}) == {n * n}\n\n" for n in (1, 2, 3)),
        "@pytest.mark.parametrize(('n', 'm'), [(1, 1), (2, 4), (3, 9)])\ndef test_f(n, m):\n    assert f(n) == m\n",
    ),
    "another expectation": fine(PY, TWO, TWO.replace("f(2) == 4", "f(2) == 5")),
    "a skip is taken away": fine(PY, swapped("def test_plain", "@pytest.mark.skip\n    def test_plain"), LOGIN),
    "the reason of a skip is put better": fine(
        PY,
        swapped("def test_plain", "@pytest.mark.skip(reason='a')\n    def test_plain"),
        swapped("def test_plain", "@pytest.mark.skip(reason='because')\n    def test_plain"),
    ),
    "a new test of one platform": fine(
        PY,
        TWO,
        TWO + "\n    @pytest.mark.skipif(WINDOWS, reason='no fork')\n    def test_fork():\n        assert f(3) == 9\n",
    ),
    "new tests under a name for a condition": fine(
        PY,
        TWO,
        "    forks = pytest.mark.skipif(WINDOWS, reason='no fork')\n"
        + TWO
        + "\n    @forks\n    def test_fork():\n        assert f(3) == 9\n",
    ),
    "a test file that is a program too": fine(
        PY, TWO, clean(TWO) + "\n\nif __name__ == '__main__':\n    sys.exit(pytest.main())\n"
    ),
    "a test without a mark beside one": fine(
        PY, LOGIN, LOGIN.replace("import pytest", "import pytest\n    slow = pytest.mark.slow")
    ),
    "a skipped test is moved": Case(
        {"tests/test_a.py": "import pytest\npytestmark = pytest.mark.skip\n\ndef test_x():\n    assert f() == 1\n"},
        {"tests/test_b.py": "import pytest\n\npytestmark = pytest.mark.skip\n\ndef test_x():\n    assert f() == 1\n"},
    ),
    "an exception that is wanted is caught": fine(
        PY,
        TWO,
        TWO
        + "\n    def test_no():\n        try:\n            f(None)\n            assert False, 'no error'\n"
        + "        except ValueError as error:\n            assert 'None' in str(error)\n",
    ),
    "the words of an assertion": fine(PY, TWO, TWO.replace("f(2) == 4", "f(2) == 4, 'two squared'")),
    "an invalid escape in a text": fine(PY, TWO, TWO.replace("f(2) == 4", "f(2) == 4 and '\\d'")),
    "other white space": fine(
        PY, TWO, TWO.replace("f(2) == 4", "(f(2)\n            == 4)").replace("assert f(1) == 1", "assert   f(1) == 1")
    ),
    "a test file without tests": Case({"tests/helpers.py": "def make():\n    return 1\n"}, {}),
    "code is changed": fine("src/app.py", "def f(n):\n    assert n\n    return n\n", "def f(n):\n    return n * n\n"),
    "code is deleted": Case({"src/app.py": "def check():\n    assert True\n"}, {}),
}
PYTHON_DISGUISES = {
    "a failure is expected": cheat(
        "assertions_swallowed", PY, TWO, TWO.replace("assert f(1)", "with pytest.raises(AssertionError): assert f(1)")
    ),
    "only where a variable is set": cheat(
        "assertions_removed", PY, TWO, TWO.replace("assert f(1)", "if os.environ.get('NIGHTLY'): assert f(1)")
    ),
    "only on a system": cheat(
        "assertions_removed", PY, TWO, TWO.replace("assert f(1)", "if sys.platform == 'plan9': assert f(1)")
    ),
    "a loop over nothing": cheat(
        "assertions_removed", PY, TWO, TWO.replace("assert f(1)", "for each in []: assert f(1)")
    ),
    "a loop over range(0)": cheat(
        "assertions_removed", PY, TWO, TWO.replace("assert f(1)", "for each in range(0): assert f(1)")
    ),
    "a generator": cheat("tests_skipped", PY, TWO, TWO.replace("assert f(1)", "yield; assert f(1)")),
    "a coroutine": cheat("tests_skipped", PY, TWO, TWO.replace("def test_one", "async def test_one")),
    "a mark that is put together": cheat(
        "tests_skipped",
        PY,
        TWO,
        "later = getattr(pytest.mark, 'sk' + 'ip')\n\n@later\n" + clean(TWO),
    ),
    "the same name again": cheat("tests_skipped", PY, TWO, clean(TWO) + "\ndef test_one():\n    assert f(1) == 1\n"),
    "a value that equals anything": cheat(
        "tautologies", PY, TWO, "class One:\n    def __eq__(self, other):\n        return True\n\n" + clean(TWO)
    ),
    "mock.ANY": cheat("tautologies assertions_removed", PY, TWO, TWO.replace("f(1) == 1", "f(1) == mock.ANY")),
    "any number is near": cheat("assertions_removed", PY, TWO, TWO.replace("== 1", "== pytest.approx(1, abs=1000)")),
    "the code is made by the test": cheat(
        "assertions_removed", PY, "from app import f\n" + clean(TWO), "def f(x):\n    return x\n" + clean(TWO)
    ),
    "what is called to assert does not": cheat(
        "assertions_removed", PY, HELPED, HELPED.replace("assert f(given) == found", "pass")
    ),
    "what stands beside the tests asserts less": cheat(
        "assertions_removed",
        "tests/helpers.py",
        "def check(a, b):\n    assert a == b\n",
        "def check(a, b):\n    pass\n",
    ),
}
PYTHON_HONEST = {
    "one test becomes two": fine(
        PY,
        "def test_a():\n    assert f(1) == 2\n    assert f(2) == 3\n",
        "def test_a():\n    assert f(1) == 2\n\n\ndef test_b():\n    assert f(2) == 3\n",
    ),
    "what is asserted goes into a helper": fine(PY, TWO, HELPED.replace("(3, 3)", "(2, 2)")),
    "a coroutine with its plugin": fine(
        PY, TWO, "import pytest\n\n@pytest.mark.asyncio\n" + clean(TWO).replace("def test_one", "async def test_one")
    ),
    "a helper that asserts is tried": fine(
        PY, TWO, clean(TWO) + "\ndef test_check():\n    with pytest.raises(AssertionError):\n        check(1, 2)\n"
    ),
    "a small tolerance": fine(PY, TWO, TWO.replace("== 1", "== pytest.approx(1, abs=0.1)")),
    "a generator within": fine(PY, TWO, TWO.replace("assert f(1)", "g = (x for x in [1]); assert f(1)")),
    "a helper beside the tests asserts more": fine(
        "tests/helpers.py", "def check(a):\n    assert a\n", "def check(a):\n    assert a\n    assert a > 1\n"
    ),
}
