"""`nas schema`: the JSON schema of a study file, so that editors complete and check what is typed."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from nas.study_words import SCHEMA

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def study_schema() -> str:
    """The schema as JSON text: sections with their docstrings, every key with its meaning, bounds and default."""
    schema: dict[str, Any] = copy.deepcopy(dict(SCHEMA))
    sections = {"Study": schema, **schema["$defs"]}
    for section, keys in MEANINGS.items():
        for key, meaning in keys.items():
            sections[section]["properties"][key]["description"] = meaning
    for section in sections.values():
        _or_a_preset(section)
    return json.dumps({"$schema": DIALECT, **schema}, indent=2)


def _or_a_preset(section: dict[str, Any]) -> None:
    """What is required is so only where no preset fills it."""
    if "preset" in section["properties"]:
        section["anyOf"] = [{"required": ["preset"]}, {"required": section.pop("required")}]


MEANINGS: Mapping[str, Mapping[str, str]] = {
    "Study": {
        "name": "Names the run folder, runs/<name>, unless --out does.",
        "data": "The labelled images.",
        "space": "Which architectures may be drawn.",
        "compression": "Which pruning ratios and weight formats may be drawn.",
        "objectives": "What is traded off: accuracy is maximised, costs are minimised.",
        "constraints": "Largest values of costs; a candidate beyond one is INFEASIBLE and not trained.",
        "search": "How candidates are proposed, how many, and what one may take.",
        "training": "How one candidate is trained.",
        "targets": "Where latency is measured; the first is the one that objectives and constraints mean.",
        "artifacts": "Which files stay on disk.",
        "report": "What the report shows.",
    },
    "Data": {
        "source": "digits needs no files; image_folder reads `path`.",
        "path": "Folder with train/ and, if there are any, val/ and test/; ~ and $VARIABLES are resolved.",
        "validation": "Fraction of train cut off for validation where there is no val/.",
        "test": "Fraction of train cut off for the test where there is no test/.",
        "channels": "1 for grey, 3 for colour; by default what the source has.",
        "flip": "Mirror training images at random; by default all but digits.",
        "crop_padding": "Shift training images by up to so many pixels; by default an eighth of the size, digits 0.",
        "train_images": "Use so many training images only, stratified.",
    },
    "MobileSpace": {
        "family": "Networks of inverted residual blocks.",
        "preset": "Fills every key of the space that is not given.",
        "input_size": "Height and width of the images in pixels; files of another size are resized.",
        "width_grid": "Channel counts are multiples of this.",
        "stem_widths": "Channels of the first convolution, to choose from.",
        "stem_stride": "Stride of the first convolution.",
        "stages": "Stages of blocks, each with its own choices.",
        "kernels": "Kernel sizes of a block's depthwise convolution, to choose from.",
        "expansions": "Inner width of a block over its input's, to choose from.",
        "squeeze_excite": "Whether a block may have squeeze-and-excitation, must, or must not.",
        "activations": "Activations of a block, to choose from; hardswish keeps int8 from being faster.",
        "head_widths": "Channels of the last convolution, to choose from.",
    },
    "StageSpace": {
        "depths": "Numbers of blocks, to choose from.",
        "widths": "Channels, to choose from.",
        "stride": "Stride of the first block.",
    },
    "Compression": {
        "pruning_ratio": "Fractions of inner channels that may be cut, to choose from.",
        "weight_format": "Formats of weights, to choose from; below 8 bits only the file gets smaller.",
        "granularity": "What shares one choice: the whole network, a stage, a block or a layer.",
        "importance": "Which channels are cut first: those of the smallest value of this.",
        "edges_below_int8": "Whether the first and the last layer may have fewer than 8 bits.",
    },
    "Constraint": {"max": "The largest value that is allowed, in the unit of the cost's name."},
    "Search": {
        "sampler": "nsga2 and nsga3 breed, tpe models, random draws.",
        "trials": "Candidates to complete; failed, infeasible and repeated ones do not count.",
        "hours": "Start no candidate after this time.",
        "seed": "Fixes split, candidates and training.",
        "workers": "Candidates evaluated at once; the cores are shared among them.",
        "trial_minutes": "Wall time of one attempt at an evaluation; beyond it the trial is FAILED.",
        "trial_gigabytes": "Memory of a worker, libraries and images included; beyond it the trial is FAILED.",
        "finalists": "Candidates of the front that are trained anew at full length and tested.",
        "epochs": "Length of a candidate's training during the search; training.epochs by default.",
        "population": "Size of a generation; a quarter of the trials, 8 to 50, by default.",
    },
    "Training": {
        "epochs": "Length of a finalist's training.",
        "batch_size": "Images per step.",
        "optimizer": "sgd with Nesterov momentum, or adamw.",
        "learning_rate": "Peak of the dense phase; 0.1 for sgd and 0.003 for adamw by default.",
        "momentum": "Of sgd.",
        "weight_decay": "Of weights; biases and batch norms do not decay.",
        "schedule": "Half a cosine, or one cycle with a warm-up.",
        "label_smoothing": "Share of the label spread over all classes.",
        "shares": "Fractions of the epochs: dense, pruned, quantization-aware.",
        "device": "Where training runs; auto takes a GPU if there is one.",
    },
    "Target": {
        "name": "Column suffix and label of this target.",
        "runtime": "What runs the file.",
        "provider": "The runtime's backend.",
        "threads": "Threads of one call.",
        "batch": "Images of one call.",
    },
    "Artifacts": {
        "keep": "all: every trial's files; front: model and weights of the search's front and finalists only."
    },
    "ReportOptions": {
        "title": "Heading of the report; the study's name by default.",
        "hypervolume_reference": "Worst value of each objective that still counts; fixed by the run if left out.",
    },
}
