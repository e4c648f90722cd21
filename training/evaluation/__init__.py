"""The evaluation protocol: scenarios, methods, runner."""
