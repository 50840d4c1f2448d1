"""What a runtime may be given stored otherwise than packed. No engine is imported: a study asks without any."""

SPARSE = "sparse"  # among names of formats whose weights are stored as int8 codes: masked weights are stored dense
