"""The database: tables, set-wise writes, the stores behind the core's ports, read views, migrations."""
