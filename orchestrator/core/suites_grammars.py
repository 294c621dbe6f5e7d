"""How each language but Python writes its tests, as rows of patterns.

They meet any text that an agent wrote, so none looks further than a line may be long or repeats what repeats.
"""

from __future__ import annotations

from dataclasses import dataclass

_QUOTED = r"(?<!\\)(?:\"(?:\\.|[^\"\\\n]){0,400}+\"|'(?:\\.|[^'\\\n]){0,400}+')"
_BLOCKS = r"//[^\n]*|/\*[\s\S]*?(?:\*/|\Z)"
_HASHES = r"(?:(?<=\s)|^)#[^\n]*"
_NEVER = r"(?!)"


@dataclass(frozen=True, slots=True)
class Grammar:
    """How a language writes tests. The patterns see neither comments nor, but for what assertions say, strings."""

    comment: str
    string: str
    case: str
    """The beginning of a test; the group `name`, if it has one, is what it is called, else its first string is."""
    shape: str
    """Where it ends: `(` or `{` (with what closes it), or `end` (a line with that word, indented as its first)."""
    asserts: str
    """The beginning of an assertion."""
    skip: str
    """What keeps a test from running, or all others."""
    same: tuple[str, ...]
    """Assertions that cannot fail; VALUE and AGAIN stand for a name or a literal and the same once more."""
    weak: str
    """Assertions that say little."""
    swallow: str = _NEVER
    """What catches an assertion that fails."""
    header: str = ""
    """What makes a function a test: a pattern for its own line and those just above it."""
    conditional: str = _NEVER
    """Skips that hold in some circumstances only."""
    empty: str = ""
    """A test that does nothing, where that is more than an empty body."""
    build: str = _NEVER
    """A comment that says when the file is built at all."""
    whole: bool = False
    """Whether a file without any test is one test."""


_JS_MODS = "skip|only|todo|fixme|fails|failing|concurrent|sequential|serial|each|for|slow|skipIf|runIf"
_JS = Grammar(
    comment=_BLOCKS,
    string=_QUOTED + r"|`(?:\\[\s\S]|[^`\\])*+(?:`|\Z)",
    case=rf"(?<![\w.$])[xf]?(?:it|test|specify)(?:\.(?:{_JS_MODS})\b){{0,4}}(?=[ \t]{{0,20}}[(`])",
    shape="(",
    asserts=r"(?<![\w.$])(?:expect|assert|should)(?:\.\w{1,40}){0,4}[ \t]{0,20}\(|\.should\b|"
    r"(?<![\w.$])assert\w{1,40}\(|"
    r"(?<![\w.$])t\.(?:is|not|true|false|deepEqual|throws|truthy|falsy|like|regex|snapshot|assert|equal|ok)\(",
    skip=r"(?<![\w.$])(?:x(?:it|test|describe|specify|context)|f(?:it|describe|test))(?=[ \t]{0,20}[(`.])|"
    r"(?<![\w.$])(?:it|test|specify|describe|context|suite)(?:\.(?:concurrent|sequential|serial|each)){0,2}"
    r"\.(?:skip|only|todo|fixme|fails|failing|skipIf|runIf)\b|(?<![\w.$])(?:this|t|ctx)\.skip\(|"
    r"(?<![\w.$])process\.exit\(",
    conditional=r"skipIf|runIf",
    same=(
        r"expect\( ?VALUE ?\)\.(?:to\.)?(?:be\.|deep\.)?(?:toBe|toEqual|toStrictEqual|equals?|eql)\( ?AGAIN ?\)",
        r"expect\( ?(?:true|[1-9]\d{0,9}|'[^'\n]{1,80}'|\"[^\"\n]{1,80}\") ?\)"
        r"\.(?:toBeTruthy|toBeDefined|not\.toBe|to\.(?:be|exist))",
        r"expect\( ?(?:false|0|null|undefined) ?\)\.(?:toBeFalsy|toBeNull|toBeUndefined|to\.be\.false)",
        r"^assert(?:\.ok|\.isTrue|\.isOk)?\( ?(?:true|1|'[^'\n]{1,80}') ?[,)]",
        r"^t\.(?:true|truthy|ok|assert)\( ?(?:true|1) ?[,)]",
        r"^(?:assert|t)\.(?:\w{0,20}[eE]quals?|is|same)\( ?VALUE ?, ?AGAIN ?[,)]",
    ),
    weak=r"toBeDefined|toBeTruthy|not\.toBe(?:Null|Undefined)\b|not\.toThrow|toBeInstanceOf|anything\(\)|to\.exist|"
    r"to\.be\.ok|\.truthy\(|\.should\.(?:not\.)?(?:be\.(?:an?\.|ok|true|false)|exist)|"
    r"^assert(?:\.ok)?\( ?[\w.]{1,80} ?\)",
    swallow=r"\bcatch[ \t]{0,9}(?:\([^)\n]{0,80}\))?\s{0,40}\{\s{0,200}\}|"
    r"\.catch\([ \t]{0,9}\(?\w{0,40}\)?[ \t]{0,9}=>[ \t]{0,9}\{\s{0,99}\}",
    empty=r"(?:=>|\bfunction\b[^{(\n]{0,80}\([^()\n]{0,200}\))\s{0,40}\{\s{0,2000}\}\s{0,40}(?:,[^()\n]{0,40})?\)\Z",
)

_GO = Grammar(
    comment=_BLOCKS,
    string=r"(?<!\\)\"(?:\\.|[^\"\\\n]){0,400}+\"|'(?:\\.|[^'\\\n]){1,10}'|`[^`]*+(?:`|\Z)",
    case=r"^func[ \t]{1,9}(?P<name>(?:Test|Fuzz|Example)\w{0,200})[ \t]{0,9}\(|\b[tb]\.Run\((?=[ \t]{0,9}[\"`])",
    shape="{",
    asserts=r"\bif\b[^\n{]{0,200}\{\s{0,40}[tbf]\.(?:Error|Fatal|Fail)\w{0,9}\(|\b[tbf]\.(?:Error|Fatal|Fail)\w{0,9}\(|"
    r"\b(?:assert|require|is|qt)\.\w{1,40}\(|\b(?:assert|require|expect|check|verify)[A-Z]\w{0,40}\(",
    skip=r"\b[tbf]\.Skip\w{0,3}\(|\bos\.Exit\(0\)",
    same=(
        r"^(?:assert|require|is)\.True\((?:\w{1,20}, ?)?true ?[,)]",
        r"^(?:assert|require)\.False\((?:\w{1,20}, ?)?false ?[,)]",
        r"^(?:assert|require|is)\.\w{0,20}Equal\w{0,20}\((?:\w{1,20}, ?)?VALUE, ?AGAIN ?[,)]",
        r"^if false\b",
        r"^if VALUE != AGAIN \{",
        r"^if [^\n{]{0,200}&& false\b",
    ),
    weak=r"\.(?:NotNil|NotEmpty|NotPanics|IsType|Implements)\(",
    swallow=r"\bdefer func\(\)\s{0,9}\{\s{0,40}(?:_ = )?recover\(\)\s{0,40}\}\(\)",
    build=r"^//(?:go:build|[ \t]{0,9}\+build)[ \t]{1,9}[^\n]{1,200}",
)

_RUST = Grammar(
    comment=_BLOCKS,
    string=r"\"(?:\\[\s\S]|[^\"\\])*+(?:\"|\Z)|'(?:\\[^'\n]{1,10}|[^'\\\n])'",
    case=r"\bfn[ \t]{1,9}(?P<name>\w{1,200})",
    header=r"#\[(?:\w{1,40}::){0,3}(?:test|rstest|test_case|quickcheck|wasm_bindgen_test)\b",
    shape="{",
    asserts=r"\b(?:debug_)?(?:assert|prop_assert)\w{0,40}!|\b(?:panic|unreachable)!|\binsta::assert\w{1,40}!",
    skip=r"#\[ignore\b|#\[should_panic\b|#\[cfg\((?!test\))|#\[cfg_attr\([^\n]{0,100}ignore",
    conditional=r"cfg",
    same=(
        r"^assert!\( ?(?:true|!false) ?[,)]",
        r"^assert!\( ?VALUE ?== ?AGAIN ?[,)]",
        r"^assert_eq!\( ?VALUE ?, ?AGAIN ?[,)]",
    ),
    weak=r"\.is_(?:ok|some)\(\) ?[,)]",
    swallow=r"\blet _ = [\w:]{0,40}catch_unwind",
)

_JAVA = Grammar(
    comment=_BLOCKS,
    string=r"\"\"\"[\s\S]*?(?:\"\"\"|\Z)|" + _QUOTED,
    case=r"\bfun[ \t]{1,9}(?P<name>`[^`\n]{1,200}`|\w{1,200})[ \t]{0,9}\(|"
    r"\b\w{1,80}[ \t]{1,9}(?P<method>[a-z]\w{0,200})[ \t]{0,9}\([^)\n]{0,300}\)[^{;\n]{0,200}\s{0,40}\{",
    header=r"@(?:Test|ParameterizedTest|RepeatedTest|TestFactory|TestTemplate|Property)\b|\bvoid[ \t]{1,9}test\w",
    shape="{",
    asserts=r"(?<![\w.])(?:[A-Z]\w{0,40}\.)?(?:assert|verify|fail|expect|should)\w{0,40}[ \t]{0,9}\(",
    skip=r"@(?:Disabled|Ignore|Ignored|DisabledOn\w{1,20}|DisabledIf\w{0,30}|EnabledOn\w{1,20}|EnabledIf\w{0,30})\b|"
    r"\benabled[ \t]{0,9}=[ \t]{0,9}false|\bassume\w{1,20}\(|\bSystem\.exit\(",
    conditional=r"On|If|assume",
    same=(
        r"assertTrue\( ?(?:\"[^\"\n]{0,80}\", ?)?true ?[,)]",
        r"assertFalse\( ?(?:\"[^\"\n]{0,80}\", ?)?false ?[,)]",
        r"assert\w{0,20}(?:Equals|Same)\( ?VALUE ?, ?AGAIN ?[,)]",
        r"assertThat\( ?true ?\)\.isTrue",
        r"assertThat\( ?VALUE ?\)\.is(?:EqualTo|SameAs)\( ?AGAIN ?\)",
        r"assertNotNull\( ?\"",
    ),
    weak=r"assertNotNull|isNotNull\(|assertDoesNotThrow|isInstanceOf|assertInstanceOf",
    swallow=r"\bcatch[ \t]{0,9}\([^)\n]{0,40}(?:Throwable|Exception|AssertionError|Error)\b[^)\n]{0,40}\)"
    r"\s{0,40}\{\s{0,200}\}",
)

_CSHARP = Grammar(
    comment=_BLOCKS,
    string=r"@\"(?:[^\"]|\"\")*+(?:\"|\Z)|" + _QUOTED,
    case=r"\b[\w<>?\[\]]{1,80}[ \t]{1,9}(?P<name>[A-Za-z_]\w{0,200})[ \t]{0,9}\([^)\n]{0,300}\)\s{0,40}\{",
    header=r"\[(?:[^\]\n]{0,80}, ?)?(?:\w{1,40}\.)?"
    r"(?:Fact|Theory|Test|TestCase|TestCaseSource|TestMethod|DataTestMethod|Property)\b",
    shape="{",
    asserts=r"(?<![\w.])(?:Assert|CollectionAssert|StringAssert|Verifier)\.\w{1,40}|\.Should\w{0,20}\(|\.Verify\w{0,20}\(",
    skip=r"\[(?:[^\]\n]{0,80}, ?)?(?:Ignore|Explicit)\b|\bSkip[ \t]{0,9}=|"
    r"\bAssert\.(?:Ignore|Inconclusive|Skip|Pass)\w{0,9}\(|\bSkip\.(?:If|Unless)\w{0,5}\(|\bEnvironment\.Exit\(",
    conditional=r"Skip\.(?:If|Unless)|SkipUnless|SkipWhen",
    same=(
        r"Assert\.(?:Is)?True\( ?true ?[,)]",
        r"Assert\.(?:Is)?False\( ?false ?[,)]",
        r"Assert\.(?:Are)?(?:Equal|Same)\( ?VALUE ?, ?AGAIN ?[,)]",
        r"Assert\.That\( ?(?:true|VALUE ?, ?Is\.EqualTo\( ?AGAIN ?\)) ?[,)]",
    ),
    weak=r"NotNull|IsType|IsInstanceOf|IsAssignableFrom|DoesNotThrow|NotBeNull|NotEmpty|NotBeEmpty",
    swallow=r"\bcatch[ \t]{0,9}(?:\([^)\n]{0,40}Exception\b[^)\n]{0,40}\))?\s{0,40}\{\s{0,200}\}",
)

_PHP = Grammar(
    comment=_BLOCKS + r"|(?:(?<=\s)|^)#(?!\[)[^\n]*",
    string=_QUOTED,
    case=r"\bfunction[ \t]{1,9}(?P<name>\w{1,200})[ \t]{0,9}\(",
    header=r"#\[(?:[\w\\]{1,80}\\)?Test\b|\bfunction[ \t]{1,9}test\w",
    shape="{",
    asserts=r"(?:\$this->|self::|static::|\bAssert::)(?:assert|expect|fail)\w{0,60}\(|(?<![\w$>:])expect\(",
    skip=r"(?:->|::)markTest(?:Skipped|Incomplete)\w{0,5}\(|->skip\(|\bexit[ \t]{0,3}(?:\([ \t]{0,3}0?[ \t]{0,3}\))?;|"
    r"#\[(?:[\w\\]{1,80}\\)?Requires\w{1,40}",
    conditional=r"Requires",
    same=(
        r"assertTrue\( ?true ?[,)]",
        r"assertFalse\( ?false ?[,)]",
        r"assert(?:Equals|Same)\( ?VALUE ?, ?AGAIN ?[,)]",
        r"expect\( ?true ?\)->toBe(?:True\(|Truthy\()",
    ),
    weak=r"assertNotNull|assertIs\w{1,20}\(|assertInstanceOf|assertNotEmpty|expectNotToPerformAssertions|toBeInstanceOf",
    swallow=r"\bcatch[ \t]{0,9}\([^)\n]{0,40}(?:Throwable|Exception|AssertionFailedError)\b[^)\n]{0,40}\)"
    r"\s{0,40}\{\s{0,200}\}",
)

_RUBY = Grammar(
    comment=_HASHES,
    string=_QUOTED,
    case=r"^[ \t]{0,200}def[ \t]{1,9}(?P<name>test_\w{1,200}[?!]?)|"
    r"^[ \t]{0,200}[xf]?(?:it|specify|example|test|scenario)[ \t(]{1,9}(?:['\"][^\n]{1,400}?(?:\bdo\b|\{)|\{)",
    shape="end",
    asserts=r"\bexpect\b|\b(?:assert|refute)\w{0,40}\b|\.should\w{0,9}\b|\.(?:must|wont)_\w{1,40}|\bis_expected\b",
    skip=r"^[ \t]{0,200}(?:x(?:it|describe|context|specify|example|scenario)|"
    r"f(?:it|describe|context|scenario)|skip|pending)(?=[ \t(\n])|"
    r",[ \t]{0,9}(?:skip|pending|focus):[ \t]{0,9}(?:true|['\"])|,[ \t]{0,9}:(?:skip|focus|pending)\b|"
    r"^[ \t]{0,200}exit!?(?:[ \t(]{1,3}(?:0|true)\)?)?[ \t]{0,9}$",
    same=(
        r"^assert(?:\( ?| )true\b",
        r"^refute(?:\( ?| )(?:false|nil)\b",
        r"^assert_(?:equal|same)(?:\( ?| )VALUE, ?AGAIN(?![\w.(])",
        r"^expect\( ?VALUE ?\)\.to(?: |\()(?:eq|be|eql|equal)(?: |\( ?)AGAIN(?![\w.(])",
        r"^expect\( ?true ?\)\.to(?: |\()be_truthy",
    ),
    weak=r"be_truthy|be_present|refute_nil|assert_not_nil|not_to be_nil|to_not be_nil|not_to raise_error|be_a\b|"
    r"assert_instance_of",
    swallow=r"\brescue\b(?:[ \t]{1,9}(?:StandardError|Exception|Minitest::Assertion|RSpec::[\w:]{1,99}))?"
    r"(?:[ \t]{0,9}=>[ \t]{0,9}\w{1,40})?[ \t]{0,9}(?:nil[ \t]{0,9})?\n\s{0,200}(?:nil\s{1,200})?end\b",
)

_SHELL = Grammar(
    comment=_HASHES,
    string=_QUOTED,
    case=r"^@test[ \t]{1,9}['\"][^\n]{1,400}\{|"
    r"^(?:function[ \t]{1,9})?(?P<name>test\w{1,200})[ \t]{0,9}(?:\(\))?\s{0,9}\{",
    shape="{",
    asserts=r"^[ \t]{0,200}(?:!?[ \t]{0,9}\[\[?(?=[ \t])|(?:test|grep|diff|cmp|assert\w{0,40}|refute\w{0,40}|fail)\b)|"
    r"(?:&&|\|\||;|\bif)[ \t]{1,9}(?:!?[ \t]{0,9}\[\[?(?=[ \t])|(?:test|grep|diff|cmp)\b)",
    skip=r"^[ \t]{0,200}(?:skip|startSkipping)\b|^exit(?:[ \t]{1,9}0)?[ \t]{0,9}$",
    same=(
        r"\[ VALUE (?:-eq|=|==) AGAIN \]",
        r"^test VALUE (?:-eq|=|==) AGAIN$",
        r"^assert true\b",
        r"^assert_?[eE]quals? VALUE AGAIN$",
    ),
    weak=r"\[\[? -n ",
    swallow=r"\|\|[ \t]{0,9}(?:true|:)[ \t]{0,9}$|^[ \t]{0,200}set \+e\b",
    whole=True,
)

GRAMMARS = {
    "javascript": _JS,
    "go": _GO,
    "rust": _RUST,
    "java": _JAVA,
    "csharp": _CSHARP,
    "php": _PHP,
    "ruby": _RUBY,
    "shell": _SHELL,
}
