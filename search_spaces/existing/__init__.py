"""Networks that exist already: read into a blueprint, from which all else follows. See `blueprint`."""
