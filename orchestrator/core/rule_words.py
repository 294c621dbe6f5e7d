"""What each rule of the gates asks for, in words."""

from __future__ import annotations

from orchestrator.core.job import Area

RULE_WORDS = {
    "broken_objects": "the objects are sound",
    "empty_diff": "something is changed",
    "plan_only": "not only documents",
    "whitespace_only": "not only white space",
    "unexpected_change": "nothing is changed",
    "missing_report": "there is a report",
    "missing_deliverable": "the deliverables are there",
    "out_of_scope": "only the allowed paths",
    "hostile_entry": "no harmful link, repository or name",
    "conflict_marks": "no conflict is left in the files",
    "hidden_lines": "each line of a program is shown",
    "no_reproduction": "a test comes with what mends a defect",
    "unchanged": "something new since the last attempt",
    "phantom": "what the report claims to have made is there",
    "not_viewable": "each deliverable can be seen",
    "unread_document": "each document can be read",
    "duplicate_passage": "no passage stands twice",
    "placeholder": "no placeholder is left",
    "misspelling": "no known misspelling",
    "length": "documents as long as is asked for",
    "dead_link": "relative links lead somewhere",
    "missing_claims": "the key claims are listed",
    "claims_form": "the lists of claims can be read",
    "missing_locator": "each claim names its place",
    "dead_locator": "the places that claims name are there",
    "tests_removed": "no test is taken away",
    "test_files_removed": "no test file or snapshot is deleted",
    "parameters_removed": "no set of parameters is taken away",
    "tests_skipped": "no test is skipped",
    "tests_emptied": "no test does nothing",
    "tautologies": "no assertion that cannot fail",
    "assertions_swallowed": "no failure is caught and let go",
    "assertions_removed": "no test asserts less",
    "tests_unread": "changed tests can be read",
    "runner_touched": "how tests are run is as before",
    "ci_touched": "CI is as before",
    "orc_touched": "what agents work by is as before",
    "keys_added": "no key is put in",
    "programs_added": "no compiled program is put in",
    "binaries_unseen": "no binary file is put in unseen",
}
"""What the rules of the diff, of the criteria and of the tamper guard ask for."""
AREA_WORDS = {
    Area.TESTS: "tests are not weakened",
    Area.CI: RULE_WORDS["ci_touched"],
    Area.ORC: RULE_WORDS["orc_touched"],
    Area.KEYS: RULE_WORDS["keys_added"],
    Area.PROGRAMS: RULE_WORDS["programs_added"],
    Area.BINARIES: RULE_WORDS["binaries_unseen"],
}
"""What all rules of the tamper guard about one thing ask for."""
ESCAPE_WORDS = {
    "config_touched": "what git runs and reads is as before",
    "refs_touched": "no branch or tag holds the work yet",
    "checkout_touched": "no copy of the work lies in a person's checkout",
    "trees_touched": "other agents' trees are as before",
    "not_looked": "it is known what was done outside of the tree",
}
"""What is asked of a run outside of its own tree. Nothing of it can be allowed."""
