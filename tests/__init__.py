import uel  # noqa: F401  (before torch: `uel.core.threads`)
