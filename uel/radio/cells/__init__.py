"""A network's cells as entities: their identities, and which of them a phone has observed."""
