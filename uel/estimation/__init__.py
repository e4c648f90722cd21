"""From reports and maps to a position: grid Bayes, baselines, filters, refinement, scoring."""
