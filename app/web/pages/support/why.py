"""Why a purchase is not credited, on one page."""

from flask import Blueprint, render_template, request

from app.intake.credit.why import why, why_person
from app.ledger.engine import look
from app.text import storable
from app.web.auth import is_operator, login_required
from app.web.params import LARGEST_NUMBER, LONGEST_TEXT
from app.web.services import Parts


def register(blueprint: Blueprint, parts: Parts) -> None:
    @blueprint.get("/why")
    @login_required
    def why_not_credited() -> str:
        text = storable(request.args.get("q", "").strip()[:LONGEST_TEXT])
        number = request.args.get("person", "")
        rules = parts.settings.rules
        with look(parts.ledger) as tx:
            if number.isascii() and number.isdigit() and int(number[:20]) <= LARGEST_NUMBER:
                explanation = why_person(tx, int(number), parts.sources, rules)
            else:
                explanation = why(tx, text, parts.sources, rules, whole_addresses=not is_operator())
        return render_template("support/why.html", q=text, why=explanation, is_asked=bool(text or number))
