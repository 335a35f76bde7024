"""Files: images in, tables out."""
