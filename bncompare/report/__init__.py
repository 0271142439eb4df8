"""A report on runs: one content, rendered for the terminal, as Markdown, as JSON and as one HTML page."""
