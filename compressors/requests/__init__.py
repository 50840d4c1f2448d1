"""What a plan asks of each step: a frozen record, how it is read, and how what came of it is written. No torch."""
