"""Methods judged on measured networks: by districts, draws of blocks and label budgets."""
