"""The verbs of `nas`: what each takes, and which command does it. Heavy imports wait until one is called."""
