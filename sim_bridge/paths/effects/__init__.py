"""What moves and what attenuates along paths: objects with velocities, vegetation."""
