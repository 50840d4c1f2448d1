"""A job whose values need quotes, for the tests of every way to hand jobs over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nas.jobs.job import Job

TEXT = """\
name: digits
data: {source: digits}
space: {preset: 8px}
# a comment with 'quotes', "others", a $HOME and a `date`
"""
JOB = Job(
    name="digits",
    text=TEXT,
    path=Path("/shared/my studies/digits.yaml"),
    overrides=("search.engine=ray", "search.workers=auto", "objectives=[accuracy, latency_ms@pi5]", "name=it's; $(id)"),
    engine="ray",
)
WITH_DEVICE = replace(JOB, devices=("pi5",))
LOCAL = replace(JOB, engine="local", overrides=("search.trials=8",))
