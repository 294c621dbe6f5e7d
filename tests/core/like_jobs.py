"""Pairs of jobs, made by hand: the same work asked for twice, and other work that looks like it.

Each is (title, prompt) of the open job and of the new one. They pin what the defaults tell apart.
"""

from __future__ import annotations

Text = tuple[str, str]

DUPLICATES: tuple[tuple[Text, Text], ...] = (
    # A word more, a comma less.
    (("Fix the log-in page", ""), ("Please fix the log-in page!", "")),
    (
        ("", "The search box loses its text when the page is reloaded. Keep the text."),
        ("", "The search box loses its text when the page is reloaded. Please keep the text there."),
    ),
    (
        ("Slow export", "Exporting a large table takes minutes. Find out why and make it faster."),
        ("Slow export", "Exporting a large table takes several minutes. Find out why, and make it faster."),
    ),
    # The same sentences in another order.
    (
        ("", "Validate the address form. Show the message below the field. Add tests."),
        ("", "Add tests. Validate the address form. Show the message below the field."),
    ),
    (
        ("Remove dead code from the parser", "Nothing calls the old grammar any more."),
        ("Parser: remove dead code", "The old grammar is called by nothing any more."),
    ),
    # Inflected.
    (
        ("Upload fails", "Uploading large files fails with a timeout on slow connections. Retry the upload."),
        ("Uploads fail", "Upload of large files fails with timeouts on a slow connection. Retry the uploads."),
    ),
    # Spelled otherwise.
    (
        ("", "Change the colour of the warning banner to match the rest of the page."),
        ("", "Change the color of the warning banner to match the rest of the page."),
    ),
    (
        ("", "The sign-up form accepts addresses without a domain. Refuse them and say why."),
        ("", "The signup form accepts adresses without a domain. Refuse them, and say why."),
    ),
    # One names more than the other.
    (
        ("", "Read the settings once at start instead of at each request, and add a test for it."),
        ("", "Read the settings in settings.py once at start instead of at each request, and add a test for it."),
    ),
    (
        ("Crash on empty input", "The importer crashes when the file is empty. It should say that there is nothing."),
        ("Crash on empty input", "The importer crashes when the file is empty (#214). It should say there is nothing."),
    ),
    # The same names.
    (
        ("", "Function `load_rows` in src/rows.py reads the whole file at once. Read it line by line."),
        ("", "In src/rows.py the function `load_rows` reads the whole file at once; read it line by line instead."),
    ),
    (
        ("Upgrade to Python 3.13", "Run the tests on Python 3.13 too, and mend what breaks."),
        ("Python 3.13", "Upgrade: run the tests on Python 3.13 too and mend what breaks there."),
    ),
    # With more said about it.
    (
        ("", "Write a how-to about backups: how to make one, how to restore it, and how to try that it works."),
        (
            "How-to about backups",
            "Write a how-to about backups: how to make one, how to restore it, and how to try that it works. Short.",
        ),
    ),
    (
        ("", "Tests in the checkout module fail now and then. Find the cause and make them steady."),
        ("", "Some tests in the checkout module fail now and then on slow machines. Find the cause, make them steady."),
    ),
    # Said again in other words.
    (
        ("Fix the log-in bug", "Users with a plus sign in their address cannot log in."),
        ("Log-in broken", "People whose mail address has a plus sign are not able to sign in."),
    ),
    (
        ("", "Make the start page load faster by loading images only when they come into view."),
        ("", "Lazy-load pictures on the home page for better performance."),
    ),
    (
        ("", "Nobody can tell from the log which user asked for a report. Write the user into it."),
        ("", "The log should have the user who asked for a report; nobody can tell now."),
    ),
    # In another language.
    (
        ("Anmeldung", "Die Anmeldung verliert die Eingaben nach einem Fehler. Behalte die Eingaben bei."),
        ("Anmeldung", "Die Anmeldung verliert nach einem Fehler die Eingaben. Behalte die Eingaben bitte bei."),
    ),
)

LOOK_ALIKES: tuple[tuple[Text, Text], ...] = (
    # They name something else.
    (("Fix test_a.py", "Make the tests in test_a.py pass."), ("Fix test_b.py", "Make the tests in test_b.py pass.")),
    (("job 1", "Write the number 1 into out/1.txt."), ("job 2", "Write the number 2 into out/2.txt.")),
    (
        ("Release 2.4.0", "Write the notes for release 2.4.0, tag it, and publish the packages."),
        ("Release 2.4.1", "Write the notes for release 2.4.1, tag it, and publish the packages."),
    ),
    (
        ("", "Add a docstring to the class UserStore that says what it keeps and for how long."),
        ("", "Add a docstring to the class SessionStore that says what it keeps and for how long."),
    ),
    (
        ("", "Support the option --quiet in every command, document it and test it."),
        ("", "Support the option --verbose in every command, document it and test it."),
    ),
    (
        ("", "Mend issue #41: what the report says does not fit what the page shows."),
        ("", "Mend issue #57: what the report says does not fit what the page shows."),
    ),
    (
        ("", "Rename the column `created` everywhere, with a migration and tests."),
        ("", "Rename the column `owner` everywhere, with a migration and tests."),
    ),
    (
        ("", "Move the JSON output behind the new interface and keep its tests as they are."),
        ("", "Move the YAML output behind the new interface and keep its tests as they are."),
    ),
    (
        ("", "Summarise what was merged in the week of 2026-11-09 for the newsletter."),
        ("", "Summarise what was merged in the week of 2026-11-16 for the newsletter."),
    ),
    (
        ("", "Proofread part A of the handbook and list what is unclear."),
        ("", "Proofread part B of the handbook and list what is unclear."),
    ),
    (
        ("", "Prepare the first lesson of the course, with exercises."),
        ("", "Prepare the second lesson of the course, with exercises."),
    ),
    (
        ("", "Port src/net/client.py to the new library and remove the old calls."),
        ("", "Port src/net/server.py to the new library and remove the old calls."),
    ),
    # One template, filled in with plain words.
    (
        ("", "Summarise the article about sperm whales in two sentences for the front page."),
        ("", "Summarise the article about dolphins in two sentences for the front page."),
    ),
    (
        ("Translate into German", "Translate the guide for beginners into German. Keep code and links as they are."),
        ("Translate into Spanish", "Translate the guide for beginners into Spanish. Keep code and links as they are."),
    ),
    (
        ("", "Write to Ada and ask her which of the open questions are settled by now."),
        ("", "Write to Grace and ask her which of the open questions are settled by now."),
    ),
    (
        ("", "Go through the code that reads orders and say where an error is lost."),
        ("", "Go through the code that writes orders and say where an error is lost."),
    ),
    (
        ("", "Write unit tests for the parser that cover each branch, and name them plainly."),
        ("", "Write unit tests for the renderer that cover each branch, and name them plainly."),
    ),
    # The same subject, other work.
    (
        ("", "Add a page about payments to the manual."),
        ("", "Remove the page about payments from the manual, nobody reads it."),
    ),
    (("", "Make the upload faster."), ("", "Make the upload work without a connection, and show what waits.")),
    (
        ("Search", "Let people search by date."),
        ("Search", "Let people search by author, and show how many were found."),
    ),
    (("", "Fix the spelling in the manual."), ("", "Add pictures to the manual.")),
    (
        ("", "The checkout page shows a wrong sum when a voucher is used. Mend it."),
        ("", "The checkout page is slow when many vouchers are there. Find out why."),
    ),
    (
        ("", "Write a test that shows that the importer keeps the order of rows."),
        (
            "",
            "Write a how-to about the importer: which files it takes, and what it does with rows that it cannot read.",
        ),
    ),
    (("", "Update the dependencies."), ("", "Update the dependencies' licences in the manual.")),
    (("Clean up", "Remove unused images."), ("Clean up", "Remove unused styles.")),
    (("", "Log every request."), ("", "Log every error with the request that led to it, without the body.")),
    (
        ("", "Split the settings page into tabs, one for each group of settings."),
        ("", "Let people search the settings page; highlight what was found in each group."),
    ),
    (("", "Deploy the site to staging."), ("", "Deploy the site to production after the tests of staging passed.")),
    (
        ("Anmeldung", "Schreibe einen Test für die Anmeldung mit falschem Kennwort."),
        ("Anmeldung", "Schreibe die Anleitung zur Anmeldung neu, für Leute ohne Vorwissen."),
    ),
    (("", "Do it"), ("", "Do it again, but better")),
)
