"""How accurate methods are: side by side with intervals, and by scenario."""
