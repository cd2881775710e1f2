"""Files that people write: YAML → a protobuf message, with the path of every mistake."""
