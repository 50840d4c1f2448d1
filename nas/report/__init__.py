"""Report: a run folder as a page, a picture, tables and model cards. Reads files, never the journal."""
