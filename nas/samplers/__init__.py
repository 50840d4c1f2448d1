"""Samplers for any Optuna study with conditional genes."""
