"""What is proposed: candidates, how they are drawn, counted and named. No torch."""
