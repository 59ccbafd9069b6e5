"""SQLAlchemy and the two databases: engines, transactions, faults, schema, migrations. Knows no money."""
