"""The durable record of who was messaged: tables, a few named verbs, migrations. The only room with SQL."""
