"""From the text of a project config to what it asks for: strict reading, then rules, every mistake with its path."""
