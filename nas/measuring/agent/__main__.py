"""`python -m nas.measuring.agent`: the agent on a device that has none of the command line's libraries."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path

from nas.errors import InputError
from nas.measuring.agent.serving import Options, serve

WRONG_INPUT = 2
HELP = {
    "host": "address to listen at; 0.0.0.0 is every one",
    "port": "0 takes a free one",
    "token_file": "holds the token; made where it is missing",
    "certificate": "PEM file: https instead of http",
    "key": "PEM file of the certificate's key",
    "seconds": "one measurement may take",
    "megabytes": "a file may have",
    "gigabytes": "of memory a measurement may take; 0 is no limit",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m nas.measuring.agent", description="Measure files for studies.")
    for option in fields(Options):
        kind = Path if option.default is None else type(option.default)
        parser.add_argument(
            f"--{option.name.replace('_', '-')}", type=kind, default=option.default, help=HELP[option.name]
        )
    try:
        serve(Options(**vars(parser.parse_args())))
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(WRONG_INPUT)


if __name__ == "__main__":
    main()
