"""From YAML text to checked, resolved run configs; imports no torch."""
