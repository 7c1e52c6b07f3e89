"""Language models: how likely the next token is, given all before it."""
