"""What can be built: architecture records, the spaces they are drawn from and the torch modules they become."""
