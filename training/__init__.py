"""Making a locator: data, losses with the ray tracer in the loop, evaluation against the physical limit."""
