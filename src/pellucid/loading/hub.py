"""Hugging Face models: a folder, or an id. Weights are safetensors and no code of the model runs, unless trusted."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pellucid.core.modality import Images, Modality, Text
from pellucid.core.model import Model
from pellucid.errors import LoadError
from pellucid.loading.request import Request
from pellucid.loading.weights import TRUST, first_line, some

ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
HEAD = re.compile(r"(For[A-Z]\w*|LMHeadModel)$")
HEADS = {"LMHeadModel": "ForCausalLM", "ForConditionalGeneration": "ForSeq2SeqLM"}
PLACE = ("revision", "cache_dir", "subfolder", "token")
NAMED = ("ForSequenceClassification", "ForImageClassification", "ForSemanticSegmentation")


def is_id(name: str) -> bool:
    """Whether a name has the form ``owner/name`` and is no path that is there."""
    return bool(ID.fullmatch(name)) and not Path(name.partition("/")[0]).is_dir()


def build(request: Request) -> Model:
    """The model of a folder or an id, with its tokenizer or picture processor and its class names."""
    transformers = package()
    local = request.path.is_dir()
    name = str(request.path) if local else request.local if request.name.startswith("hf:") else request.name
    if local and not (request.path / "config.json").is_file():
        got = f"the folder {request.path.name!r} without one"
        raise LoadError(expected="a folder with config.json", got=got, do="Pass what save_pretrained(folder) wrote.")
    access = {"local_files_only": local, "trust_remote_code": request.trust}
    access |= {key: request.rest[key] for key in PLACE if key in request.rest}
    with quiet(transformers):
        config = attempt(lambda: transformers.AutoConfig.from_pretrained(name, **access), name)
        module = weighted(transformers, config, name, request, access)
        inputs = request.inputs or modality(transformers, module, name, access)
    classes, task = labels(config)
    return request.model(request.filled(module), inputs=inputs, classes=classes, task=task)


def package() -> Any:
    """transformers, or LoadError with the command that installs it."""
    try:
        import transformers
    except ImportError:
        do = 'Install it: pip install "pellucid[hf]"'
        raise LoadError(expected="the package transformers", got="it is not installed", do=do) from None
    return transformers


def weighted(transformers: Any, config: Any, name: str, request: Request, access: dict[str, Any]) -> Any:
    """The network with its weights; ones that are missing would be random, so they are refused."""
    auto = auto_class(transformers, config)
    rest = {"output_loading_info": True, **access, **request.rest}
    if not request.trust:
        rest["use_safetensors"] = True
    module, info = attempt(lambda: auto.from_pretrained(name, config=config, **rest), name)
    lacking = sorted(map(str, [*info["missing_keys"], *info["mismatched_keys"]]))
    if lacking and request.weights is None:
        got = f"{len(lacking)} missing or of another shape: {some(lacking)}"
        do = "They would be random: name a model that has been trained for its task."
        raise LoadError(expected=f"all weights of {type(module).__name__} in {Path(name).name}", got=got, do=do)
    if info["unexpected_keys"]:
        kept = sorted(map(str, info["unexpected_keys"]))
        warnings.warn(
            f"{name} has {len(kept)} weights that {type(module).__name__} does not use: {some(kept)}", stacklevel=5
        )
    return module


def auto_class(transformers: Any, config: Any) -> Any:
    """The AutoModel that builds the architecture the configuration names."""
    architecture = (getattr(config, "architectures", None) or [""])[0]
    found = HEAD.search(architecture)
    head = HEADS.get(found[1], found[1]) if found else ""
    return getattr(transformers, f"AutoModel{head}", transformers.AutoModel)


def modality(transformers: Any, module: Any, name: str, access: dict[str, Any]) -> Modality | None:
    """What the network reads, by the name of its first input."""
    first = getattr(module, "main_input_name", "")
    if first == "input_ids":
        tokenizer = attempt(lambda: transformers.AutoTokenizer.from_pretrained(name, **access), name)
        return Text(tokenizer=tokenizer) if len(tokenizer) > len(tokenizer.all_special_ids) else None
    return images(name, access) if first == "pixel_values" else None


def images(name: str, access: dict[str, Any]) -> Images | None:
    """Mean, deviation and size of the pictures, from the processor's configuration; None where there is none."""
    from transformers.image_processing_base import ImageProcessingMixin

    rest = {key: value for key, value in access.items() if key != "trust_remote_code"}
    try:
        asked, _ = ImageProcessingMixin.get_image_processor_dict(name, **rest)
    except (OSError, ValueError):
        return None
    scale = 255 * asked.get("rescale_factor", 1 / 255) if asked.get("do_rescale", True) else 255.0
    normalized = asked.get("do_normalize", True) and asked.get("image_mean")
    mean = asked["image_mean"] if normalized else (0.0, 0.0, 0.0)
    std = asked["image_std"] if normalized else (1.0, 1.0, 1.0)
    return Images(mean=tuple(m / scale for m in mean), std=tuple(s / scale for s in std), size=side(asked))


def side(asked: dict[str, Any]) -> tuple[int, int] | None:
    """(height, width) that a picture processor makes."""
    size = asked.get("crop_size") if asked.get("do_center_crop") else None
    size = size or asked.get("size")
    if isinstance(size, int):
        return size, size
    if not isinstance(size, dict):
        return None
    edge = size.get("shortest_edge")
    height, width = size.get("height", edge), size.get("width", edge)
    return (int(height), int(width)) if height and width else None


def labels(config: Any) -> tuple[tuple[str, ...] | None, str | None]:
    """Class names and task, where the network classifies; one without a head gives numbers, not tokens."""
    architecture = (getattr(config, "architectures", None) or [""])[0]
    if not architecture.endswith(NAMED):
        return None, None if HEAD.search(architecture) else "regression"
    if getattr(config, "problem_type", None) == "regression" or config.num_labels == 1:
        return None, "regression"
    names = {int(key): str(value) for key, value in config.id2label.items()}
    task = "image" if architecture.endswith("ForSemanticSegmentation") else "classification"
    return tuple(names[i] for i in sorted(names)), task


def attempt(ask: Callable[[], Any], name: str) -> Any:
    """Ask transformers; what it raises becomes a LoadError."""
    try:
        return ask()
    except Exception as error:
        text = str(error)
        got = f"{Path(name).name!r}: {first_line(error)}"
        if "trust_remote_code" in text or "remote code" in text:
            raise LoadError(expected="a model without code of its own", got=got, do=TRUST) from error
        if "safetensors" in text:
            do = f"Convert it: load it where you trust it and save_pretrained(folder). {TRUST}"
            raise LoadError(expected="weights as safetensors", got=got, do=do) from error
        do = "Check the name; without a network, download it first or pass the folder."
        raise LoadError(expected="a Hugging Face model", got=got, do=do) from error


@contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """No bars and no reports while loading: errors say what matters."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
