"""The task, its losses, and the fit of a locator."""
