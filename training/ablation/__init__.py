"""Ray tracing against stored maps in the loss, compared at equal cost."""
