"""The passive drivers of search and finalists, and the journal they write."""
