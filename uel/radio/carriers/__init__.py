"""3GPP's tables of carriers: bands, channel numbers, resource blocks. No framework is imported here."""
