"""Self-tests of the ray tracer, its gradients and tiles."""
