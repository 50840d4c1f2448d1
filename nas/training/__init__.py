"""Where weights change: the loop, the stages of a training, losses, augmentation, checkpoints."""
