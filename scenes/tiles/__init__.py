"""The tile folder: written, described, validated."""
