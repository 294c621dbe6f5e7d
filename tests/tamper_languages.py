"""The same in other languages."""

from __future__ import annotations

from tamper_configuration import CONFIG_CHEATS, CONFIG_CLEAN
from tamper_python import PYTHON_CHEATS, PYTHON_CLEAN, PYTHON_DISGUISES, PYTHON_HONEST
from tamper_world import Case, cheat, clean, fine

JS = "src/login.test.ts"
JS_OLD = """
    import { login } from "./login";

    describe("login", () => {
      it("takes umlauts", async () => {
        const user = await login("Zoë");
        expect(user.name).toBe("Zoë");
        expect(user.age).toEqual(7);
      });

      it("refuses nobody", () => {
        expect(() => login("")).toThrow(/name/);
      });
    });
"""


def js(old: str, new: str) -> str:
    assert old in JS_OLD
    return JS_OLD.replace(old, new)


JS_CHEATS = {
    "a test is removed": cheat("tests_removed", JS, JS_OLD, JS_OLD.partition('      it("refuses')[0] + "    });\n"),
    "a file is deleted": cheat("tests_removed", JS, JS_OLD, None),
    "a test is commented out": cheat(
        "tests_removed",
        JS,
        JS_OLD,
        js('it("refuses', '/* it("refuses').replace("/name/);\n      });", "/name/);\n      }); */"),
    ),
    "it.skip": cheat("tests_skipped", JS, JS_OLD, js('it("refuses', 'it.skip("refuses')),
    "xit": cheat("tests_skipped", JS, JS_OLD, js('it("refuses', 'xit("refuses')),
    "describe.skip": cheat("tests_skipped", JS, JS_OLD, js('describe("login"', 'describe.skip("login"')),
    "it.only": cheat("tests_skipped", JS, JS_OLD, js('it("refuses', 'it.only("refuses')),
    "fdescribe": cheat("tests_skipped", JS, JS_OLD, js("describe(", "fdescribe(")),
    "it.todo": cheat(
        "tests_skipped tests_emptied assertions_removed",
        JS,
        JS_OLD,
        js(
            'it("refuses nobody", () => {\n        expect(() => login("")).toThrow(/name/);\n      });',
            'it.todo("refuses nobody", () => {});',
        ),
    ),
    "expect(true).toBe(true)": cheat(
        "tautologies assertions_removed",
        JS,
        JS_OLD,
        js('expect(() => login("")).toThrow(/name/)', "expect(true).toBe(true)"),
    ),
    "expect(x).toBe(x)": cheat(
        "tautologies",
        JS,
        JS_OLD,
        js('expect(user.name).toBe("Zoë")', "expect(user.name).toBe(user.name)").replace("toEqual(7)", "toEqual(8)"),
    ),
    "expect of a text to be truthy": cheat(
        "tautologies assertions_removed",
        JS,
        JS_OLD,
        js('expect(() => login("")).toThrow(/name/)', "expect('ok').toBeTruthy()"),
    ),
    "assert.ok(true)": cheat(
        "tautologies assertions_removed", JS, JS_OLD, js('expect(() => login("")).toThrow(/name/)', "assert.ok(true)")
    ),
    "assert.equal(1, 1)": cheat(
        "tautologies assertions_removed",
        JS,
        JS_OLD,
        js('expect(() => login("")).toThrow(/name/)', "assert.equal(1, 1)"),
    ),
    "an assertion is removed": cheat(
        "assertions_removed", JS, JS_OLD, js("        expect(user.age).toEqual(7);\n", "")
    ),
    "only that it is defined": cheat(
        "assertions_removed", JS, JS_OLD, js("expect(user.age).toEqual(7)", "expect(user.age).toBeDefined()")
    ),
    "the body is emptied": cheat(
        "tests_emptied assertions_removed", JS, JS_OLD, js('expect(() => login("")).toThrow(/name/);', "// later")
    ),
    "what fails is caught": cheat(
        "assertions_swallowed",
        JS,
        JS_OLD,
        js("expect(user.age).toEqual(7);", "try { expect(user.age).toEqual(7); } catch (e) {}"),
    ),
    "on a line too long to be seen": cheat(
        "tests_removed", JS, JS_OLD, js('it("refuses', "/*" + "x" * 3000 + '*/ it.skip("refuses')
    ),
}
JS_EACH = """
    test.each([[1, 1], [2, 4]])("squares %d", (n, m) => {
      expect(square(n)).toBe(m);
    });
    test.each`
      n | m
      ${1} | ${1}
    `("squares $n", ({ n, m }) => {
      expect(square(n)).toBe(m);
    });
"""
JS_CLEAN = {
    "a test is added": fine(
        JS,
        JS_OLD,
        js('it("refuses', 'it("is new", () => {\n        expect(f(1)).toBe(2);\n      });\n\n      it("refuses'),
    ),
    "a test is renamed": fine(JS, JS_OLD, js("takes umlauts", "takes every letter")),
    "a file is renamed": Case({JS: clean(JS_OLD)}, {"test/login.spec.ts": clean(JS_OLD)}),
    "a file is moved and added to": Case(
        {JS: clean(JS_OLD)},
        {"src/deep/login.test.ts": clean(js("toEqual(7);", "toEqual(7);\n        expect(user.id).toBe(1);"))},
    ),
    "a stronger test takes its name": fine(JS, JS_OLD, js("toThrow(/name/)", "toThrow(new NameError('empty'))")),
    "an assertion over several lines": fine(
        JS,
        JS_OLD,
        js(
            "expect(user.age).toEqual(7);",
            "expect(user.age)\n          .toEqual(7);\n        expect(user).toEqual({\n          age: 7,\n        });",
        ),
    ),
    "another library says the same": fine(
        JS, JS_OLD, js("expect(user.age).toEqual(7);", "should(user.age)\n          .eql(7);")
    ),
    "words in a text": fine(JS, JS_OLD, js('login("Zoë");', 'login("it.skip(x) // expect(true).toBe(true)");')),
    "a pattern is tested": fine(
        JS, JS_OLD, js('login("Zoë");', 'login("Zoë");\n        const ok = /x/.test(user.name);')
    ),
    "tables of parameters": fine(JS, JS_EACH, JS_EACH.replace("[2, 4]", "[2, 4], [3, 9]")),
    "a callback that does nothing": fine(JS, JS_OLD, js('login("Zoë");', 'login("Zoë", () => {});')),
    "code is changed": fine("src/login.ts", "assert(true);\n", "it = 1;\n"),
}

GO = "login/login_test.go"
GO_OLD = """
    package login

    import "testing"

    func TestUmlaut(t *testing.T) {
        got := Login("Zoë")
        if got.Name != "Zoë" {
            t.Errorf("got %q", got.Name)
        }
        assert.Equal(t, 7, got.Age)
    }

    func TestEmpty(t *testing.T) {
        t.Run("no name", func(t *testing.T) {
            require.Error(t, Login(""))
        })
    }
"""


def go(old: str, new: str) -> str:
    assert old in GO_OLD
    return GO_OLD.replace(old, new)


GO_CHEATS = {
    "a test is removed": cheat("tests_removed", GO, GO_OLD, GO_OLD.partition("    func TestEmpty")[0]),
    "a test is renamed so that nobody runs it": cheat(
        "tests_removed", GO, GO_OLD, go("func TestUmlaut", "func testUmlaut")
    ),
    "a subtest is removed": cheat(
        "tests_removed assertions_removed",
        GO,
        GO_OLD,
        go(
            '        t.Run("no name", func(t *testing.T) {\n            require.Error(t, Login(""))\n        })\n',
            "        _ = t\n",
        ),
    ),
    "t.Skip": cheat(
        "tests_skipped", GO, GO_OLD, go('got := Login("Zoë")', 't.Skip("later")\n        got := Login("Zoë")')
    ),
    "t.Skip under a condition": cheat(
        "tests_skipped",
        GO,
        GO_OLD,
        go(
            'got := Login("Zoë")',
            'if os.Getenv("CI") != "" {\n            t.SkipNow()\n        }\n        got := Login("Zoë")',
        ),
    ),
    "not built at all": cheat("tests_skipped", GO, GO_OLD, "//go:build ignore\n\n" + clean(GO_OLD)),
    "assert.True(t, true)": cheat(
        "tautologies assertions_removed", GO, GO_OLD, go('require.Error(t, Login(""))', "assert.True(t, true)")
    ),
    "assert.Equal of the same": cheat(
        "tautologies",
        GO,
        GO_OLD,
        go("assert.Equal(t, 7, got.Age)", "assert.Equal(t, got.Age, got.Age)").replace('%q"', '%v"'),
    ),
    "if false": cheat("tautologies assertions_removed", GO, GO_OLD, go('if got.Name != "Zoë" {', "if false {")),
    "an assertion is removed": cheat("assertions_removed", GO, GO_OLD, go("        assert.Equal(t, 7, got.Age)\n", "")),
    "the body is emptied": cheat(
        "tests_removed tests_emptied assertions_removed",
        GO,
        GO_OLD,
        go('        t.Run("no name", func(t *testing.T) {\n            require.Error(t, Login(""))\n        })\n', ""),
    ),
    "what fails is caught": cheat(
        "assertions_swallowed",
        GO,
        GO_OLD,
        go('got := Login("Zoë")', 'defer func() { recover() }()\n        got := Login("Zoë")'),
    ),
}
GO_CLEAN = {
    "a test is added": fine(
        GO, GO_OLD, clean(GO_OLD) + "\nfunc TestMore(t *testing.T) {\n\tassert.Equal(t, 1, f())\n}\n"
    ),
    "a test is renamed": fine(GO, GO_OLD, go("TestUmlaut", "TestNamesWithUmlauts")),
    "a new test that is skipped when it must be short": fine(
        GO,
        GO_OLD,
        clean(GO_OLD)
        + "\nfunc TestLong(t *testing.T) {\n\tif testing.Short() {\n\t\tt.Skip()\n\t}\n\tassert.Equal(t, 1, f())\n}\n",
    ),
    "a raw text": fine(GO, GO_OLD, go('Login("Zoë")', "Login(`func TestX() { t.Skip() }`)")),
    "a file is renamed": Case({GO: clean(GO_OLD)}, {"login/names_test.go": clean(GO_OLD)}),
}

RUST = "src/login.rs"
RUST_OLD = """
    pub fn login<'a>(name: &'a str) -> User<'a> { User { name } }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn umlaut() {
            let user = login("Zoë");
            assert_eq!(user.name, "Zoë");
            assert!(user.age > 3);
        }

        #[test]
        #[should_panic]
        fn empty() {
            login("");
        }
    }
"""


def rust(old: str, new: str) -> str:
    assert old in RUST_OLD
    return RUST_OLD.replace(old, new)


RUST_CHEATS = {
    "the module of tests is removed": cheat("tests_removed", RUST, RUST_OLD, RUST_OLD.partition("    #[cfg(test)]")[0]),
    "a test is no test any more": cheat(
        "tests_removed", RUST, RUST_OLD, rust("#[test]\n        fn umlaut", "#[allow(dead_code)]\n        fn umlaut")
    ),
    "#[ignore]": cheat(
        "tests_skipped",
        RUST,
        RUST_OLD,
        rust("#[test]\n        fn umlaut", "#[test]\n        #[ignore]\n        fn umlaut"),
    ),
    "#[ignore] above": cheat(
        "tests_skipped",
        RUST,
        RUST_OLD,
        rust("#[test]\n        fn umlaut", '#[ignore = "slow"]\n        #[test]\n        fn umlaut'),
    ),
    "#[should_panic]": cheat(
        "tests_skipped",
        RUST,
        RUST_OLD,
        rust("#[test]\n        fn umlaut", "#[test]\n        #[should_panic]\n        fn umlaut"),
    ),
    "assert!(true)": cheat(
        "tautologies",
        RUST,
        RUST_OLD,
        rust("assert!(user.age > 3)", "assert!(true)").replace('"Zoë");\n            a', '"Zoe");\n            a'),
    ),
    "assert_eq!(1, 1)": cheat(
        "tautologies assertions_removed", RUST, RUST_OLD, rust('assert_eq!(user.name, "Zoë")', "assert_eq!(1, 1)")
    ),
    "an assertion is removed": cheat(
        "assertions_removed", RUST, RUST_OLD, rust("            assert!(user.age > 3);\n", "")
    ),
    "the body is emptied": cheat("tests_emptied", RUST, RUST_OLD, rust('            login("");\n', "")),
}
RUST_CLEAN = {
    "code is changed beside the tests": fine(
        RUST, RUST_OLD, rust("{ User { name } }", "{ #[cfg(unix)] let n = '\"'; User { name } }")
    ),
    "a test is added": fine(
        RUST,
        RUST_OLD,
        rust(
            "        #[test]\n        #[should",
            "        #[test]\n        fn more() {\n            assert_eq!(f(), 1);\n        }\n\n"
            "        #[test]\n        #[should",
        ),
    ),
    "tests are moved into a folder of their own": Case(
        {RUST: clean(RUST_OLD)},
        {
            RUST: clean(RUST_OLD.partition("    #[cfg(test)]")[0]),
            "tests/login.rs": clean("    #[test]" + RUST_OLD.partition("#[test]")[2])[:-3],
        },
    ),
    "an asynchronous test": fine(
        RUST, RUST_OLD, rust("#[test]\n        fn umlaut", "#[tokio::test]\n        async fn umlaut")
    ),
}

JAVA = "src/test/java/LoginTest.java"
JAVA_OLD = """
    class LoginTest {
        private final Login login = new Login();

        @Test
        void umlaut() {
            assertEquals("Zoë", login.of("Zoë").name());
            assertThat(login.of("Zoë").age()).isEqualTo(7);
        }

        @Test
        @DisplayName("nobody")
        void empty() throws Exception
        {
            assertThrows(NameException.class, () -> login.of(""));
        }
    }
"""


def java(old: str, new: str) -> str:
    assert old in JAVA_OLD
    return JAVA_OLD.replace(old, new)


JAVA_CHEATS = {
    "a test is removed": cheat(
        "tests_removed", JAVA, JAVA_OLD, JAVA_OLD.partition("\n        @Test\n        @DisplayName")[0] + "    }\n"
    ),
    "a test is no test any more": cheat(
        "tests_removed", JAVA, JAVA_OLD, java("@Test\n        void umlaut", "void umlaut")
    ),
    "@Disabled": cheat(
        "tests_skipped",
        JAVA,
        JAVA_OLD,
        java("@Test\n        void umlaut", '@Test @Disabled("later")\n        void umlaut'),
    ),
    "@Disabled for all": cheat(
        "tests_skipped", JAVA, JAVA_OLD, java("class LoginTest", "@Disabled\n    class LoginTest")
    ),
    "@Ignore": cheat(
        "tests_skipped",
        JAVA,
        JAVA_OLD,
        java("@Test\n        void umlaut", "@Ignore\n        @Test\n        void umlaut"),
    ),
    "assertTrue(true)": cheat(
        "tautologies assertions_removed",
        JAVA,
        JAVA_OLD,
        java('assertThrows(NameException.class, () -> login.of(""))', "assertTrue(true)"),
    ),
    "an assertion is removed": cheat(
        "assertions_removed", JAVA, JAVA_OLD, java('            assertEquals("Zoë", login.of("Zoë").name());\n', "")
    ),
    "the body is emptied": cheat(
        "tests_emptied assertions_removed",
        JAVA,
        JAVA_OLD,
        java('            assertThrows(NameException.class, () -> login.of(""));\n', ""),
    ),
    "what fails is caught": cheat(
        "assertions_swallowed",
        JAVA,
        JAVA_OLD,
        java(
            'assertEquals("Zoë", login.of("Zoë").name());',
            'try { assertEquals("Zoë", login.of("Zoë").name()); } catch (Throwable t) { }',
        ),
    ),
    "a Kotlin test is disabled": cheat(
        "tests_skipped",
        "src/test/kotlin/LoginTest.kt",
        "class LoginTest {\n    @Test\n    fun `takes umlauts`() {\n        assertEquals(1, f())\n    }\n}\n",
        "class LoginTest {\n    @Test @Disabled\n    fun `takes umlauts`() {\n        assertEquals(1, f())\n    }\n}\n",
    ),
}
JAVA_CLEAN = {
    "a test is added": fine(
        JAVA,
        JAVA_OLD,
        java(
            "        @Test\n        void umlaut",
            "        @Test\n        void more() {\n            assertEquals(1, f());\n        }\n\n"
            "        @Test\n        void umlaut",
        ),
    ),
    "a test is renamed": fine(JAVA, JAVA_OLD, java("void umlaut", "void takesUmlauts")),
    "a helper is removed": fine(
        JAVA,
        java(
            "        @Test\n        void umlaut",
            "        void help() {\n            login.reset();\n        }\n\n        @Test\n        void umlaut",
        ),
        JAVA_OLD,
    ),
}

CSHARP = "tests/LoginTests.cs"
CSHARP_OLD = """
    public class LoginTests
    {
        [Fact]
        public void Umlaut()
        {
            var user = Login.Of("Zoë");
            Assert.Equal("Zoë", user.Name);
            user.Age.Should().Be(7);
        }

        [Theory]
        [InlineData(1)]
        public async Task Plain(int number)
        {
            Assert.Equal(number, await Login.Count(number));
        }

        private static string Named(string name) { return name; }
    }
"""


def csharp(old: str, new: str) -> str:
    assert old in CSHARP_OLD
    return CSHARP_OLD.replace(old, new)


CSHARP_CHEATS = {
    "a test is no test any more": cheat("tests_removed", CSHARP, CSHARP_OLD, csharp("[Fact]\n", "\n")),
    "Skip": cheat("tests_skipped", CSHARP, CSHARP_OLD, csharp("[Fact]", '[Fact(Skip = "later")]')),
    "[Ignore]": cheat("tests_skipped", CSHARP, CSHARP_OLD, csharp("[Theory]", "[Theory]\n        [Ignore]")),
    "True(true)": cheat(
        "tautologies assertions_removed",
        CSHARP,
        CSHARP_OLD,
        csharp("Assert.Equal(number, await Login.Count(number))", "Assert.True(true)"),
    ),
    "assertions go": cheat(
        "assertions_removed",
        CSHARP,
        CSHARP_OLD,
        csharp('            Assert.Equal("Zoë", user.Name);\n            user.Age.Should().Be(7);\n', ""),
    ),
    "what fails is caught": cheat(
        "assertions_swallowed",
        CSHARP,
        CSHARP_OLD,
        csharp(
            "Assert.Equal(number, await Login.Count(number));",
            "try { Assert.Equal(number, await Login.Count(number)); } catch (Exception e) { }",
        ),
    ),
}
CSHARP_CLEAN = {
    "another expected value": fine(CSHARP, CSHARP_OLD, csharp(".Be(7)", ".Be(8)")),
    "a better name": fine(CSHARP, CSHARP_OLD, csharp("Umlaut()", "UmlautsAreKept()")),
    "a helper is changed": fine(CSHARP, CSHARP_OLD, csharp("return name;", "return name.Trim();")),
}

PHP = "tests/LoginTest.php"
PHP_OLD = """
    <?php
    final class LoginTest extends TestCase
    {
        public function testUmlaut(): void
        {
            $this->assertSame("Zoë", login("Zoë")->name);
            $this->assertSame(7, login("Zoë")->age);
        }

        #[Test]
        public function it_is_plain(): void
        {
            self::assertTrue(login("ada")->known);
        }
    }
"""


def php(old: str, new: str) -> str:
    assert old in PHP_OLD
    return PHP_OLD.replace(old, new)


PHP_CHEATS = {
    "a test is no test any more": cheat("tests_removed", PHP, PHP_OLD, php("#[Test]\n", "\n")),
    "markTestSkipped": cheat(
        "tests_skipped", PHP, PHP_OLD, php("self::assertTrue", "$this->markTestSkipped('later'); self::assertTrue")
    ),
    "assertTrue(true)": cheat(
        "tautologies assertions_removed", PHP, PHP_OLD, php('assertTrue(login("ada")->known)', "assertTrue(true)")
    ),
    "the body is emptied": cheat(
        "tests_emptied assertions_removed", PHP, PHP_OLD, php('self::assertTrue(login("ada")->known);', "")
    ),
}
PHP_CLEAN = {
    "another expected value": fine(PHP, PHP_OLD, php("assertSame(7", "assertSame(8")),
    "a better name": fine(PHP, PHP_OLD, php("testUmlaut", "testUmlautsAreKept")),
}

RUBY = "spec/login_spec.rb"
RUBY_OLD = """
    RSpec.describe Login do
      it "takes umlauts" do
        user = Login.new("Zoë")
        expect(user.name).to eq("Zoë")
        expect(user.age).to eq 7
      end

      it "refuses nobody" do
        expect { Login.new("") }.to raise_error(NameError)
      end
    end
"""
MINITEST = """
    class LoginTest < Minitest::Test
      def test_umlaut
        assert_equal "Zoë", Login.new("Zoë").name
      end

      def test_empty
        assert_raises(NameError) { Login.new("") }
      end
    end
"""


def ruby(old: str, new: str) -> str:
    assert old in RUBY_OLD
    return RUBY_OLD.replace(old, new)


RUBY_CHEATS = {
    "a test is removed": cheat(
        "tests_removed", RUBY, RUBY_OLD, RUBY_OLD.partition('\n      it "refuses')[0] + "    end\n"
    ),
    "xit": cheat("tests_skipped", RUBY, RUBY_OLD, ruby('it "refuses', 'xit "refuses')),
    "skip": cheat(
        "tests_skipped",
        RUBY,
        RUBY_OLD,
        ruby('user = Login.new("Zoë")', 'skip "later"\n        user = Login.new("Zoë")'),
    ),
    "xdescribe": cheat(
        "tests_skipped",
        RUBY,
        "describe Login do\n  it 'x' do\n    expect(f).to eq 1\n  end\nend\n",
        "xdescribe Login do\n  it 'x' do\n    expect(f).to eq 1\n  end\nend\n",
    ),
    "expect(true)": cheat(
        "tautologies assertions_removed",
        RUBY,
        RUBY_OLD,
        ruby('expect { Login.new("") }.to raise_error(NameError)', "expect(true).to eq(true)"),
    ),
    "an assertion is removed": cheat(
        "assertions_removed", RUBY, RUBY_OLD, ruby("        expect(user.age).to eq 7\n", "")
    ),
    "the body is emptied": cheat(
        "tests_emptied assertions_removed",
        RUBY,
        RUBY_OLD,
        ruby('        expect { Login.new("") }.to raise_error(NameError)\n', ""),
    ),
    "a test of minitest is removed": cheat(
        "tests_removed", "test/login_test.rb", MINITEST, MINITEST.replace("def test_empty", "def check_empty")
    ),
    "assert true": cheat(
        "tautologies assertions_removed",
        "test/login_test.rb",
        MINITEST,
        MINITEST.replace('assert_equal "Zoë", Login.new("Zoë").name', "assert true"),
    ),
    "what fails is caught": cheat(
        "assertions_swallowed",
        "test/login_test.rb",
        MINITEST,
        MINITEST.replace(".name\n      end", ".name\n      rescue Minitest::Assertion\n        nil\n      end"),
    ),
}
RUBY_CLEAN = {
    "a test is added": fine(
        RUBY,
        RUBY_OLD,
        ruby('      it "refuses', '      it "is new" do\n        expect(f).to eq 1\n      end\n\n      it "refuses'),
    ),
    "a test is renamed": fine(RUBY, RUBY_OLD, ruby("takes umlauts", "takes what people are called")),
    "another expectation": fine(RUBY, RUBY_OLD, ruby("eq 7", "eq 8")),
}

BATS = "test/login.bats"
BATS_OLD = """
    @test "takes umlauts" {
      run login "Zoë"
      [ "$status" -eq 0 ]
      [[ "$output" == "Zoë" ]]
    }

    @test "refuses nobody" {
      run login ""
      [ "$status" -eq 2 ]
    }
"""
SCRIPT = """
    #!/bin/sh
    set -e
    out=$(./login ada)
    [ "$out" = "ada" ]
    ./login "" && exit 1
    test -e log
"""


def bats(old: str, new: str) -> str:
    assert old in BATS_OLD
    return BATS_OLD.replace(old, new)


SHELL_CHEATS = {
    "a test is removed": cheat("tests_removed", BATS, BATS_OLD, BATS_OLD.partition('\n    @test "refuses')[0]),
    "skip": cheat("tests_skipped", BATS, BATS_OLD, bats('run login "Zoë"', 'skip "later"\n      run login "Zoë"')),
    "[ 1 -eq 1 ]": cheat("tautologies assertions_removed", BATS, BATS_OLD, bats('[ "$status" -eq 2 ]', "[ 1 -eq 1 ]")),
    "an assertion is removed": cheat(
        "assertions_removed", BATS, BATS_OLD, bats('      [[ "$output" == "Zoë" ]]\n', "")
    ),
    "|| true": cheat(
        "assertions_swallowed", BATS, BATS_OLD, bats('[ "$status" -eq 2 ]', '[ "$status" -eq 2 ] || true')
    ),
    "a script is deleted": cheat("tests_removed", "tests/smoke.sh", SCRIPT, None),
    "a script ends before its end": cheat(
        "tests_skipped", "tests/smoke.sh", SCRIPT, SCRIPT.replace("out=$(", "exit 0\n    out=$(")
    ),
    "a script asserts less": cheat(
        "assertions_removed", "tests/smoke.sh", SCRIPT, SCRIPT.replace("    test -e log\n", "")
    ),
}
SHELL_CLEAN = {
    "a test is added": fine(
        BATS, BATS_OLD, clean(BATS_OLD) + '\n@test "more" {\n  run more\n  [ "$status" -eq 0 ]\n}\n'
    ),
    "a test is renamed": fine(BATS, BATS_OLD, bats("takes umlauts", "takes names")),
    "a script ends well": fine("tests/smoke.sh", SCRIPT, clean(SCRIPT) + "exit 0\n"),
}

GROUPS: dict[str, dict[str, Case]] = {
    "python": PYTHON_CHEATS | {f"clean: {name}": case for name, case in PYTHON_CLEAN.items()},
    "disguised": PYTHON_DISGUISES | {f"clean: {name}": case for name, case in PYTHON_HONEST.items()},
    "javascript": JS_CHEATS | {f"clean: {name}": case for name, case in JS_CLEAN.items()},
    "go": GO_CHEATS | {f"clean: {name}": case for name, case in GO_CLEAN.items()},
    "rust": RUST_CHEATS | {f"clean: {name}": case for name, case in RUST_CLEAN.items()},
    "java": JAVA_CHEATS | {f"clean: {name}": case for name, case in JAVA_CLEAN.items()},
    "csharp": CSHARP_CHEATS | {f"clean: {name}": case for name, case in CSHARP_CLEAN.items()},
    "php": PHP_CHEATS | {f"clean: {name}": case for name, case in PHP_CLEAN.items()},
    "ruby": RUBY_CHEATS | {f"clean: {name}": case for name, case in RUBY_CLEAN.items()},
    "shell": SHELL_CHEATS | {f"clean: {name}": case for name, case in SHELL_CLEAN.items()},
    "configuration": CONFIG_CHEATS | {f"clean: {name}": case for name, case in CONFIG_CLEAN.items()},
}
