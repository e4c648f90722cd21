"""A trained run at work: `uel locate`, `torch.export`, GeoJSON."""
