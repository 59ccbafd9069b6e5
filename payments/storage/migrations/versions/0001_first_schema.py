"""The first schema: inbox, credits, transfers, batches.

Revision ID: 0001
Revises: nothing
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _instant() -> sa.types.TypeEngine[str]:
    return sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def _serial() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "attentions",
        sa.Column("id", _serial(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=96), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("raised_at", _instant(), nullable=False),
        sa.Column("resolved_at", _instant(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "one_open_attention_per_subject",
        "attentions",
        ["kind", "subject"],
        unique=True,
        sqlite_where=sa.text("resolved_at IS NULL"),
        postgresql_where=sa.text("resolved_at IS NULL"),
    )
    op.create_table(
        "bank_transfers",
        sa.Column("bank_transfer_id", sa.String(length=64), nullable=False),
        sa.Column("external_id", sa.String(length=96), nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("amount_centavos", sa.BigInteger(), nullable=False),
        sa.Column("errors", sa.Text(), nullable=True),
        sa.Column("seen_at", _instant(), nullable=False),
        sa.PrimaryKeyConstraint("bank_transfer_id", name="a_sighting_once"),
    )
    op.create_index("bank_transfers_by_external_id", "bank_transfers", ["external_id"], unique=False)
    op.create_table(
        "destinations",
        sa.Column("id", _serial(), nullable=False),
        sa.Column("bank_code", sa.String(length=16), nullable=False),
        sa.Column("branch_code", sa.String(length=16), nullable=False),
        sa.Column("account_number", sa.String(length=32), nullable=False),
        sa.Column("account_type", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("tax_id", sa.String(length=24), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint(
            "bank_code",
            "branch_code",
            "account_number",
            "account_type",
            "name",
            "tax_id",
            name="a_destination_once",
        ),
    )
    op.create_table(
        "inbox_events",
        sa.Column("event_id", sa.String(length=80), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("subscription", sa.String(length=64), nullable=False),
        sa.Column("log_type", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=True),
        sa.Column("outcome", sa.String(length=24), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("digital_signature", sa.Text(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", _instant(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name="an_event_once"),
    )
    op.create_index("inbox_events_by_subject", "inbox_events", ["subject"], unique=False)
    op.create_index("inbox_events_by_time", "inbox_events", ["received_at"], unique=False)
    op.create_table(
        "invoice_batches",
        sa.Column("id", _serial(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=True),
        sa.Column("tag", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("due_at", _instant(), nullable=False),
        sa.Column("next_at", _instant(), nullable=False),
        sa.Column("lease_expires_at", _instant(), nullable=True),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("planned_at", _instant(), nullable=False),
        sa.Column("issued_at", _instant(), nullable=True),
        sa.CheckConstraint("(state = 'issued') = (issued_at IS NOT NULL)", name="issued_has_its_time"),
        sa.CheckConstraint(
            "(state = 'issuing') = (lease_expires_at IS NOT NULL)", name="batch_lease_iff_issuing"
        ),
        sa.CheckConstraint("state IN ('issued', 'issuing', 'planned', 'skipped')", name="batch_state_known"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("slot", name="a_slot_once"),
        sa.UniqueConstraint("tag", name="a_batch_tag_once"),
    )
    op.create_table(
        "issuing_windows",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("token", sa.String(length=16), nullable=False),
        sa.Column("opened_at", _instant(), nullable=False),
        sa.Column("interval_seconds", sa.Float(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.CheckConstraint("id = 1", name="one_window"),
        sa.CheckConstraint("slots > 0 AND interval_seconds > 0", name="window_has_slots"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "reconciliations",
        sa.Column("id", _serial(), nullable=False),
        sa.Column("started_at", _instant(), nullable=False),
        sa.Column("ended_at", _instant(), nullable=False),
        sa.Column("found", sa.Integer(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("reconciliations_by_time", "reconciliations", ["started_at"], unique=False)
    op.create_table(
        "reversals",
        sa.Column("log_id", sa.String(length=64), nullable=False),
        sa.Column("invoice_id", sa.String(length=64), nullable=False),
        sa.Column("remaining_centavos", sa.BigInteger(), nullable=False),
        sa.Column("reversed_at", _instant(), nullable=False),
        sa.Column("recorded_at", _instant(), nullable=False),
        sa.CheckConstraint("remaining_centavos >= 0", name="no_negative_remainder"),
        sa.PrimaryKeyConstraint("log_id", name="a_reversal_once"),
    )
    op.create_index("reversals_by_invoice", "reversals", ["invoice_id"], unique=False)
    op.create_table(
        "credits",
        sa.Column("invoice_id", sa.String(length=64), nullable=False),
        sa.Column("log_id", sa.String(length=64), nullable=False),
        sa.Column("event_id", sa.String(length=80), nullable=False),
        sa.Column("gross_centavos", sa.BigInteger(), nullable=False),
        sa.Column("fee_centavos", sa.BigInteger(), nullable=False),
        sa.Column("net_centavos", sa.BigInteger(), nullable=False),
        sa.Column("withheld_centavos", sa.BigInteger(), nullable=False),
        sa.Column("disposition", sa.String(length=24), nullable=False),
        sa.Column("credited_at", _instant(), nullable=False),
        sa.Column("recorded_at", _instant(), nullable=False),
        sa.CheckConstraint(
            "disposition <> 'forward' OR net_centavos > 0", name="only_positive_net_is_forwarded"
        ),
        sa.CheckConstraint(
            "disposition IN ('forward', 'not_ours', 'nothing_to_forward')", name="credit_disposition_known"
        ),
        sa.CheckConstraint("gross_centavos >= 0 AND fee_centavos >= 0", name="no_negative_credit"),
        sa.CheckConstraint("net_centavos = gross_centavos - fee_centavos", name="net_is_gross_minus_fee"),
        sa.CheckConstraint(
            "withheld_centavos >= 0 AND (withheld_centavos = 0 OR withheld_centavos <= net_centavos)",
            name="withheld_within_net",
        ),
        sa.ForeignKeyConstraint(["event_id"], ["inbox_events.event_id"], name="a_credit_has_its_event"),
        sa.PrimaryKeyConstraint("invoice_id", name="a_credit_once_per_invoice"),
        sa.UniqueConstraint("log_id", name="a_credit_once_per_log"),
    )
    op.create_index("credits_by_time", "credits", ["recorded_at"], unique=False)
    op.create_table(
        "planned_invoices",
        sa.Column("id", _serial(), nullable=False),
        sa.Column("batch_id", _serial(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("tag", sa.String(length=80), nullable=False),
        sa.Column("amount_centavos", sa.BigInteger(), nullable=False),
        sa.Column("payer_name", sa.String(length=128), nullable=False),
        sa.Column("payer_tax_id", sa.String(length=24), nullable=False),
        sa.Column("bank_invoice_id", sa.String(length=64), nullable=True),
        sa.CheckConstraint("amount_centavos > 0", name="only_positive_invoices"),
        sa.ForeignKeyConstraint(["batch_id"], ["invoice_batches.id"], name="an_invoice_has_its_batch"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("bank_invoice_id", name="a_bank_invoice_once"),
        sa.UniqueConstraint("batch_id", "position", name="a_position_once"),
        sa.UniqueConstraint("tag", name="an_invoice_tag_once"),
    )
    op.create_table(
        "transfers",
        sa.Column("id", _serial(), nullable=False),
        sa.Column("invoice_id", sa.String(length=64), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("external_id", sa.String(length=96), nullable=False),
        sa.Column("amount_centavos", sa.BigInteger(), nullable=False),
        sa.Column("destination_id", _serial(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("call_tag", sa.String(length=64), nullable=True),
        sa.Column("due_at", _instant(), nullable=False),
        sa.Column("lease_expires_at", _instant(), nullable=True),
        sa.Column("bank_transfer_id", sa.String(length=64), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", _instant(), nullable=False),
        sa.Column("sent_at", _instant(), nullable=True),
        sa.Column("settled_at", _instant(), nullable=True),
        sa.CheckConstraint("(state = 'sending') = (lease_expires_at IS NOT NULL)", name="lease_iff_sending"),
        sa.CheckConstraint(
            "state IN ('dead', 'failed', 'pending', 'sending', 'sent', 'settled', 'stopped')",
            name="transfer_state_known",
        ),
        sa.CheckConstraint(
            "state NOT IN ('sent', 'settled') OR bank_transfer_id IS NOT NULL", name="sent_has_its_bank_id"
        ),
        sa.CheckConstraint("amount_centavos > 0", name="only_positive_amounts_are_sent"),
        sa.ForeignKeyConstraint(
            ["destination_id"], ["destinations.id"], name="a_transfer_has_its_destination"
        ),
        sa.ForeignKeyConstraint(["invoice_id"], ["credits.invoice_id"], name="a_transfer_has_its_credit"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("bank_transfer_id", name="a_bank_transfer_once"),
        sa.UniqueConstraint("external_id", name="an_external_id_once"),
        sa.UniqueConstraint("invoice_id", "generation", name="a_generation_once"),
    )
    op.create_index(
        "one_live_transfer_per_credit",
        "transfers",
        ["invoice_id"],
        unique=True,
        sqlite_where=sa.text("state IN ('dead', 'pending', 'sending', 'sent', 'settled')"),
        postgresql_where=sa.text("state IN ('dead', 'pending', 'sending', 'sent', 'settled')"),
    )
    op.create_index(
        "transfers_due",
        "transfers",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "transfers_in_flight",
        "transfers",
        ["sent_at"],
        unique=False,
        sqlite_where=sa.text("state = 'sent'"),
        postgresql_where=sa.text("state = 'sent'"),
    )
    op.create_index(
        "transfers_leased",
        "transfers",
        ["lease_expires_at"],
        unique=False,
        sqlite_where=sa.text("state = 'sending'"),
        postgresql_where=sa.text("state = 'sending'"),
    )
    op.create_table(
        "transfer_history",
        sa.Column("id", _serial(), nullable=False),
        sa.Column("transfer_id", _serial(), nullable=False),
        sa.Column("at", _instant(), nullable=False),
        sa.Column("fact", sa.String(length=24), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfers.id"], name="history_has_its_transfer"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("transfer_history_by_transfer", "transfer_history", ["transfer_id"], unique=False)


def downgrade() -> None:
    op.drop_index("transfer_history_by_transfer", table_name="transfer_history")
    op.drop_table("transfer_history")
    op.drop_index(
        "transfers_leased",
        table_name="transfers",
        sqlite_where=sa.text("state = 'sending'"),
        postgresql_where=sa.text("state = 'sending'"),
    )
    op.drop_index(
        "transfers_in_flight",
        table_name="transfers",
        sqlite_where=sa.text("state = 'sent'"),
        postgresql_where=sa.text("state = 'sent'"),
    )
    op.drop_index(
        "transfers_due",
        table_name="transfers",
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.drop_index(
        "one_live_transfer_per_credit",
        table_name="transfers",
        sqlite_where=sa.text("state IN ('dead', 'pending', 'sending', 'sent', 'settled')"),
        postgresql_where=sa.text("state IN ('dead', 'pending', 'sending', 'sent', 'settled')"),
    )
    op.drop_table("transfers")
    op.drop_table("planned_invoices")
    op.drop_index("credits_by_time", table_name="credits")
    op.drop_table("credits")
    op.drop_index("reversals_by_invoice", table_name="reversals")
    op.drop_table("reversals")
    op.drop_index("reconciliations_by_time", table_name="reconciliations")
    op.drop_table("reconciliations")
    op.drop_table("issuing_windows")
    op.drop_table("invoice_batches")
    op.drop_index("inbox_events_by_time", table_name="inbox_events")
    op.drop_index("inbox_events_by_subject", table_name="inbox_events")
    op.drop_table("inbox_events")
    op.drop_table("destinations")
    op.drop_index("bank_transfers_by_external_id", table_name="bank_transfers")
    op.drop_table("bank_transfers")
    op.drop_index(
        "one_open_attention_per_subject",
        table_name="attentions",
        sqlite_where=sa.text("resolved_at IS NULL"),
        postgresql_where=sa.text("resolved_at IS NULL"),
    )
    op.drop_table("attentions")
