"""What hands a study to a cluster: one module per way, each a function from a job and its options to text."""
