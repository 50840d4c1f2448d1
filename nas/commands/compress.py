"""`nas compress`: one network, one plan, one file, and a table of before and after.

The network as it is given, or trained first where it has no weights, is evaluated; so is the compressed one, trained
from those weights. Whatever is done is kept in the folder, so that after Ctrl-C or a death the same command goes on.
"""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from nas.candidates.candidate import Candidate
from nas.commands.compress_view import showing
from nas.commands.export import contents_of, usage_of
from nas.commands.refusals import refuse
from nas.commands.report import write_report
from nas.commands.run import run as run_study
from nas.compression.choosing import chosen
from nas.compression.comparison import Comparison
from nas.compression.folder import ResultFolder, forget_request, keep_request
from nas.compression.page import page
from nas.compression.plans import candidate_of
from nas.compression.settings import study_of, study_text
from nas.compression.wishes import Wishes
from nas.compression.work import Watched, Work
from nas.errors import InputError
from nas.files import sole_holder, write_atomically
from nas.report.tables import front_rows, records
from nas.report.terminal import why_empty

PROGRAM = "predict.py"


def compress(wishes: Wishes, to: Path, console: Console, *, html: bool = False) -> Comparison | None:
    """Compress a network into the folder `to`, or go on with that, and write all that ships there.

    What it was and what it is now; None where a search for a plan was stopped before its end. Raises InputError before
    any training where something that is asked for cannot be done, and then leaves the folder to another command;
    CandidateFailed where a training fails.
    """
    folder = ResultFolder(to)
    study = study_of(wishes, folder.study)
    refuse(study)
    if wishes.trials is None:
        candidate_of(study, wishes)  # what is said of single layers is refused now
    is_new = keep_request(folder, study, wishes)
    with sole_holder(folder.work.lock):
        with showing(console) as bar:
            try:
                work = Work.of(wishes, study, folder, Watched(bar.begin, bar.tell)).planned()
            except (InputError, KeyboardInterrupt):
                if is_new:  # nothing was trained: what is asked for next may be another thing
                    forget_request(folder)
                raise
            work = work.begun()
            write_atomically(folder.study, study_text(work.wishes))
            before = work.before()
            after = work.after() if wishes.trials is None else None
        if after is None and (after := _searched(work, console)) is None:
            return None
        with console.status("comparing"):
            comparison = work.comparison(before, after)
        _write(comparison, after, work, data=study.data.title, html=html)
    return comparison


def _searched(work: Work, console: Console) -> Path | None:
    """Run the search for a plan, and choose of its front; the artifact folder, None where the search was stopped."""
    run, study = work.folder.run, work.study
    if not run_study(study, run, console):
        return None
    write_report(run, study, console)
    members = records(front_rows(run))
    if not members:
        raise InputError(f"{run}: {why_empty(run, study.objectives)}")
    member = chosen(members, study.objectives, study.limits)
    console.print(f"Chosen of the front: trial {member['trial']} ({escape(str(member['id']))})", highlight=False)
    return run / str(member["artifact"])


def _write(comparison: Comparison, artifact: Path, work: Work, *, data: str, html: bool) -> None:
    """What ships, as `nas export` has it, the program of its card, and the table, which says that all is done."""
    folder, study = work.folder, work.study
    contents = contents_of(artifact, study)
    candidate = Candidate.from_json(json.loads(contents["candidate.json"]))
    contents[PROGRAM] = usage_of(artifact, study, candidate).program.encode()
    if html:
        contents[folder.page.name] = page(comparison, data=data).encode()
    for name, content in contents.items():
        write_atomically(folder.path / name, content)
    write_atomically(folder.table, json.dumps(comparison.to_json(), indent=1, allow_nan=False))
