"""One delivery with all that explains it, for its page. Read only."""

from typing import Any

from sqlalchemy import Connection

from app.ledger import queries, stats
from app.ledger.editing import why_not_editable
from app.ledger.engine import Ledger
from app.ledger.overview import audit


def story(ledger: Ledger, connection: Connection, delivery_id: int) -> dict[str, Any]:
    """A delivery as queries.delivery gives it, and besides:

    text (its payload to the byte), origin (its event with headers and body), person (id and name), lines (of the audit
    log), not_editable (why it cannot be edited, None where it can), may_undo (it was discarded by hand), tries (attempts of the
    present schedule), brakes (its destination's, None where no worker served it yet), and elsewhere (the deliveries of the same
    conversion to other destinations). Raises DeliveryNotFound.
    """
    found = queries.delivery(ledger, connection, delivery_id)
    statement = "SELECT payload, attempts - schedule_start FROM deliveries WHERE id = ?"
    found["text"], found["tries"] = ledger.run(connection, statement, delivery_id).one()
    found["origin"] = queries.event(ledger, connection, found["event"])
    statement = "SELECT id, name, email FROM persons WHERE id = ?"
    row = ledger.run(connection, statement, found["person_id"]).first()
    found["person"] = {"id": row[0], "name": row[1] or row[2]} if row else None
    found["lines"] = audit(ledger, connection, subject=f"delivery {delivery_id}", limit=50)
    brakes = {one["name"]: one for one in stats.destinations(ledger, connection)}
    found["brakes"] = brakes.get(found["destination"])
    made = found["origin"]["deliveries"] if found["origin"] else []
    found["elsewhere"] = [one for one in made if one["id"] != delivery_id]
    found["not_editable"] = why_not_editable(ledger, connection, found)
    found["may_undo"] = found["status"] == "discarded" and any(line["action"] == "discard" for line in found["lines"])
    return found
