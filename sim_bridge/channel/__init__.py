"""From paths to the channel and to what a phone measures of it."""
