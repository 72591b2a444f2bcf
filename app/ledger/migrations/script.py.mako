"""${message}"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
oldest_code = "0001"


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
