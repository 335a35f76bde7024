"""Files: images are read, tables are written."""
