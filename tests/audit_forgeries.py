"""Ways to forge the honest ledger of `audit_world`, each with the rule that must notice it."""

from __future__ import annotations

from forged_reviews import REVIEWS
from forged_steps import STEPS
from forged_usage import USAGE
from forged_work import WORK
from forging import Forgery

FORGERIES: dict[str, Forgery] = {**USAGE, **REVIEWS, **WORK, **STEPS}
