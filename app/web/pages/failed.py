"""Failed deliveries by reason, and bulk replay or discard.

Bulk work runs one batch per request. Each response shows the progress and continues by itself (or by its button, without
script), so no request is long, and closing the page stops it between two batches.
"""

import re
from dataclasses import replace
from typing import Any

from flask import Blueprint, render_template, request, url_for
from werkzeug.exceptions import BadRequest, UnprocessableEntity

from app.ledger.actions import bulk, replay
from app.ledger.actions.bulk import Job
from app.ledger.engine import look
from app.ledger.reading import deliveries, filters
from app.ledger.reading.filters import AsOf, Filter
from app.ledger.reading.money.summed import summed as summed_of
from app.ledger.reading.where import as_of_now
from app.model import STATUSES
from app.text import storable
from app.times import iso
from app.web import params
from app.web.auth import is_operator, login_required
from app.web.lists.asked import asked, canonical
from app.web.params import DeliveryFilter, before_asked
from app.web.services import ROWS, Parts, actor, redirect_with, source_choices

FIELDS = ("status", "source", "kind", "destination", "code", "reason", "since", "until", "q")
PAST = {"replay": "due now", "discard": "discarded", "undo": "as before"}


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger

    @blueprint.get("/failed")
    @login_required
    def failed() -> Any:
        request_filter, before = asked(DeliveryFilter, FIELDS, checks={"status": filters.FAILED}), before_asked()
        if moved := canonical(request_filter):
            return moved
        shown: dict[str, Any] = {"page": filters.Page(), "groups": [], "count": 0, "is_all": True, "stake": None}
        with look(ledger) as tx:
            if not request_filter.errors:
                criteria = deliveries.resolve(tx, filter_of(request_filter.fields), parts.sources)
                shown["page"] = deliveries.failed(tx, criteria, parts.sources, before=before, limit=ROWS)
                shown["groups"] = deliveries.groups(tx, criteria, parts.sources)
                shown["count"], shown["is_all"] = deliveries.count(tx, criteria, parts.sources)
                shown["stake"] = deliveries.at_stake(tx, criteria, parts.sources)
            shown["source_choices"] = source_choices(tx, parts)
        page = render_template(
            "failed.html",
            asked=request_filter.shown(),
            fields=request_filter.fields,
            scan=filters.SCAN,
            before=before,
            **shown,
        )
        return page, request_filter.status_code

    @blueprint.post("/failed/confirm")
    @login_required
    def confirm_bulk() -> Any:
        job = job_of(request.form)
        matching, is_all = len(job["ids"]), True
        with look(ledger) as tx:
            if job["all"]:
                job["as_of"] = as_of_now(tx)  # before the count, so that nothing uncounted is ever acted on
                criteria = filter_of(job["fields"])
                job["fields"] |= {
                    n: str(iso(at)) for n in ("since", "until") if (at := getattr(criteria, n)) is not None
                }
                criteria = deliveries.resolve(tx, criteria, parts.sources)
                matching, is_all = deliveries.count(tx, criteria, parts.sources)
            else:
                criteria = Filter(STATUSES, delivery_ids=job["ids"])
            summed, stake = summed_of(tx, criteria, parts.sources)
        if not matching:
            text = "nothing was selected: select deliveries, or all matching ones"
            return redirect_with(text, url_for(".failed", **job["fields"]), is_done=False)
        job["total"] = matching if is_all else 0
        return render_template(
            "bulk.html", job=job, count=matching, is_all=is_all, summed=summed, stake=stake, step="confirm"
        )

    @blueprint.post("/failed/run")
    @login_required
    def run_bulk() -> Any:
        job = run_batch(parts, job_of(request.form))
        if job["verb"] in ("replay", "undo"):
            parts.nudge()
        return render_template("bulk.html", job=job, step="done" if job["after"] is None else "running", past=PAST)


def given(source: Any) -> dict[str, str]:
    """The filter fields that were filled in."""
    return {name: value for name in FIELDS if (value := storable(source.get(name, "").strip()))}


def filter_of(fields: dict[str, str]) -> filters.Filter:
    """Raises UnprocessableEntity if a field is invalid."""
    if fields.get("status") not in (None, *filters.FAILED):
        raise UnprocessableEntity("status must be dead or retrying")
    criteria = params.filter_of(fields, filters.FAILED)
    return replace(criteria, reason=fields.get("reason"), whole_addresses=not is_operator())


def job_of(form: Any) -> dict[str, Any]:
    """What a bulk form requests: the verb, the deliveries (selected, or all that match the filter), and the progress."""
    verb, mark, after = form.get("verb", ""), form.get("mark", ""), form.get("after", "")
    ids = [delivery_id for delivery_id in form.getlist("id") if re.fullmatch("[0-9]{1,18}", delivery_id)]
    if verb not in PAST or (mark and not replay.MARK.fullmatch(mark)) or not re.fullmatch("[0-9]{0,18}", after):
        raise BadRequest("this form is invalid: reload the page and try again")
    if verb == "undo" and not mark:
        raise BadRequest("this form has no discard to undo")
    is_all = form.get("all") == "1" or verb == "undo"
    counts = {name: params.number_in(form, name) or 0 for name in ("done", "left", "total")}
    return {
        "verb": verb,
        "mark": mark,
        "ids": [] if is_all else [int(delivery_id) for delivery_id in ids][: bulk.BULK],
        "all": is_all,
        "fields": given(form),
        "after": int(after) if after else None,
        "as_of": AsOf.read(form.get("as_of", "")),
        **counts,
    }


def run_batch(parts: Parts, form: dict[str, Any]) -> dict[str, Any]:
    """Runs the next batch of a form and returns the form with its progress; `after` is None at the end."""
    criteria = None
    if form["all"] and form["verb"] != "undo":
        criteria = replace(filter_of(form["fields"]), as_of=form["as_of"])
    job = Job(form["verb"], criteria, form["ids"], form["mark"], form["after"], form["done"], form["left"])
    job = parts.ledger.transact(lambda tx: bulk.step(tx, job, parts.sources, actor=actor()))
    as_of = job.criteria.as_of if job.criteria is not None else None
    return {**form, "as_of": as_of, "mark": job.mark, "after": job.after, "done": job.done, "left": job.skipped}
