"""Sites and antennas, radio maps, the simulator protocol, and the 3GPP quantities of a link."""
