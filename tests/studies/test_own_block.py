"""The example of a block of one's own: its contract in one line, and its study."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from nas.candidates.candidate import Candidate
from nas.candidates.sampling import sample
from nas.run_folder.network import code_of
from nas.study.file import dump_study, load_study
from nas.testing import BlockContract
from search_spaces.trials import Pick, last

FOLDER = Path(__file__).parents[2] / "studies" / "own-block"
STUDY = FOLDER / "own-block.yaml"
KIND = "separable:SeparableResidual"


class TestSeparableResidual(BlockContract):
    kind = KIND

    @property
    def name(self) -> str:
        load_study(STUDY)  # which makes the folder's modules importable
        return super().name


def test_what_is_run_is_said() -> None:
    assert list(code_of(load_study(STUDY))) == [f"space.blocks: runs the code of {KIND}, which the study trusts"]


READER = """
import json, sys
from pathlib import Path
from nas.candidates.candidate import Candidate
from nas.study.file import load_recorded
load_recorded(Path(sys.argv[1]))
print(Candidate.from_json(json.loads(sys.argv[2])).id)
"""


def test_a_worker_reads_its_candidates_by_the_recorded_study(tmp_path: Path) -> None:
    """The folder of the study is known to the processes that are started, though the record lies elsewhere."""
    study = load_study(STUDY)
    candidate = sample(Pick(last), study.space, study.compression, input_channels=1)
    assert {block.kind for stage in candidate.architecture.stages for block in stage.blocks} >= {"residual"}
    own = sample(Pick(lambda choices: choices[0]), study.space, study.compression, input_channels=1)
    assert KIND in json.dumps(own.to_json())
    recorded = tmp_path / "study.yaml"
    recorded.write_text(dump_study(study))
    told = [sys.executable, "-c", READER, str(recorded), json.dumps(own.to_json())]
    found = subprocess.run(told, check=True, capture_output=True, text=True, cwd=tmp_path)
    assert found.stdout.strip() == own.id == Candidate.from_json(own.to_json()).id
