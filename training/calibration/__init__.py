"""Materials and antennas from measured levels."""
