"""The built-in model: one request in natural language becomes one bare shell command."""
