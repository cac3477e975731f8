"""Programs that measure the whole against a known truth or a named rival."""
