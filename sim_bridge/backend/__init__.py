"""The boundary to Dr.Jit, Mitsuba and Sionna's private names."""
