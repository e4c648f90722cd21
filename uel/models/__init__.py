"""Networks that locate a phone or correct a radio map."""
