"""Operators' acts, switches, living processes, notifications, archived bodies; running totals.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _instant() -> sa.types.TypeEngine[str]:
    return sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def _serial() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("inbox_events", sa.Column("archived_at", _instant(), nullable=True))
    op.add_column("attentions", sa.Column("notified_at", _instant(), nullable=True))
    op.add_column("attentions", sa.Column("notify_after", _instant(), nullable=True))
    op.add_column(
        "attentions", sa.Column("notify_attempts", sa.Integer(), nullable=False, server_default="0")
    )
    op.create_index("attentions_by_subject", "attentions", ["subject"], unique=False)
    is_open = sa.text("resolved_at IS NULL")
    op.create_index("attentions_open", "attentions", ["id"], sqlite_where=is_open, postgresql_where=is_open)
    op.create_table(
        "acts",
        sa.Column("id", _serial(), nullable=False),
        sa.Column("at", _instant(), nullable=False),
        sa.Column("who", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("subject", sa.String(length=96), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.CheckConstraint("reason <> '' AND who <> ''", name="an_act_has_its_reason"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("acts_by_subject", "acts", ["subject"], unique=False)
    op.create_table(
        "switches",
        sa.Column("name", sa.String(length=16), nullable=False),
        sa.Column("paused_at", _instant(), nullable=True),
        sa.CheckConstraint("name IN ('forwarding', 'issuing')", name="switch_known"),
        sa.PrimaryKeyConstraint("name", name="a_switch_once"),
    )
    op.create_table(
        "processes",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("host", sa.String(length=128), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("started_at", _instant(), nullable=False),
        sa.Column("seen_at", _instant(), nullable=False),
        sa.Column("stopped_at", _instant(), nullable=True),
        sa.Column("bank_key_fetched_at", _instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="a_process_once"),
    )
    op.create_table(
        "totals",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("centavos", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "shard", name="a_total_once"),
    )
    op.create_table(
        "tallies",
        sa.Column("minute", _instant(), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("centavos", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("minute", "name", "shard", name="a_tally_once"),
    )
    for name, column, where in (
        ("transfers_settled", ["settled_at"], "state = 'settled'"),
        ("transfers_ended", ["state", "id"], "state IN ('dead', 'failed', 'stopped')"),
    ):
        op.create_index(
            name, "transfers", column, sqlite_where=sa.text(where), postgresql_where=sa.text(where)
        )
    _count_what_is_there()


def _count_what_is_there() -> None:
    """Bring the totals up to what older versions recorded; their minutes are not known again."""
    op.execute(
        "INSERT INTO totals (name, shard, number, centavos) "
        "SELECT 'transfers.' || state, 0, COUNT(*), SUM(amount_centavos) FROM transfers GROUP BY state"
    )
    for name, column, where in (
        ("credits.gross", "gross_centavos", "1 = 1"),
        ("credits.fee", "fee_centavos", "1 = 1"),
        ("credits.net", "net_centavos", "1 = 1"),
        ("credits.withheld", "withheld_centavos", "withheld_centavos > 0"),
        ("credits.not_forwarded", "net_centavos", "disposition <> 'forward'"),
    ):
        op.execute(
            "INSERT INTO totals (name, shard, number, centavos) "  # noqa: S608
            f"SELECT '{name}', 0, COUNT(*), SUM({column}) FROM credits WHERE {where} HAVING COUNT(*) > 0"
        )


def downgrade() -> None:
    op.drop_index("transfers_ended", "transfers")
    op.drop_index("transfers_settled", "transfers")
    for table in ("tallies", "totals", "processes", "switches", "acts"):
        op.drop_table(table)
    op.drop_index("attentions_open", "attentions")
    op.drop_index("attentions_by_subject", "attentions")
    for column in ("notify_attempts", "notify_after", "notified_at"):
        op.drop_column("attentions", column)
    op.drop_column("inbox_events", "archived_at")
