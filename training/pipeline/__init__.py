"""From a scene to sites, surveys and radio maps under every map condition."""
