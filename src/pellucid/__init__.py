"""pellucid: see why a neural network says what it says, and whether to believe the explanation.

Every name below is imported when first used; ``import pellucid`` costs next to nothing beyond torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pellucid.catalogue import METHODS

__version__ = "0.1.0"

PLACES = {
    "attribution.importance": ("Importance",),
    "attribution.overview": ("Overview",),
    "attribution.sage": ("SAGE",),
    "core.model": ("Model", "Layer"),
    "core.blackbox": ("BlackBox",),
    "core.modality": ("Images", "Modality", "Series", "Table", "Text"),
    "core.target": ("Class", "Function", "Loss", "Output", "Probability", "Target"),
    "core.places": ("Neuron", "Region", "Token"),
    "core.run": ("Receipt", "current_settings", "settings"),
    "core.result": ("Attribution",),
    "core.prediction": ("Prediction",),
    "core.evidence": ("Check", "Control", "Evidence"),
    "core.store": ("read_result",),
    "engines.features": (
        "Columns",
        "Elements",
        "Groups",
        "Inputs",
        "Patches",
        "Sentences",
        "Superpixels",
        "Tokens",
        "Windows",
        "Words",
    ),
    "engines.fills": (
        "Blur",
        "Conditional",
        "Constant",
        "DeleteToken",
        "Inpaint",
        "Marginal",
        "MaskToken",
        "Mean",
        "Noise",
        "Shuffle",
        "Zeros",
    ),
    "evaluate.check": ("check",),
    "explanation": ("Explanation", "explain"),
    "loading": ("load",),
}

WHERE = {name: f"pellucid.{place}" for place, names in PLACES.items() for name in names}
WHERE |= {each.name: each.place.split(":")[0] for each in METHODS}

__all__ = ["errors", *sorted(WHERE)]


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module("pellucid.errors")
    if name not in WHERE:
        from pellucid.errors import nearest

        raise AttributeError(f"pellucid has no {name!r}. {nearest(name, __all__)}")
    value = getattr(import_module(WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


if TYPE_CHECKING:
    from pellucid import errors as errors
    from pellucid.attribution.cam import CAM as CAM
    from pellucid.attribution.cam import GradCAM as GradCAM
    from pellucid.attribution.coalitional import Banzhaf as Banzhaf
    from pellucid.attribution.coalitional import Owen as Owen
    from pellucid.attribution.coalitional import RegressionMSR as RegressionMSR
    from pellucid.attribution.gradient import FullGrad as FullGrad
    from pellucid.attribution.gradient import InputXGradient as InputXGradient
    from pellucid.attribution.gradient import Saliency as Saliency
    from pellucid.attribution.importance import Importance as Importance
    from pellucid.attribution.interactions import ShapleyInteractions as ShapleyInteractions
    from pellucid.attribution.lime import LIME as LIME
    from pellucid.attribution.masks import HSIC as HSIC
    from pellucid.attribution.masks import RISE as RISE
    from pellucid.attribution.masks import Sobol as Sobol
    from pellucid.attribution.overview import Overview as Overview
    from pellucid.attribution.path import IDGI as IDGI
    from pellucid.attribution.path import BlurIG as BlurIG
    from pellucid.attribution.path import Conductance as Conductance
    from pellucid.attribution.path import ExpectedGradients as ExpectedGradients
    from pellucid.attribution.path import GuidedIG as GuidedIG
    from pellucid.attribution.path import IntegratedGradients as IntegratedGradients
    from pellucid.attribution.perturbation import Ablation as Ablation
    from pellucid.attribution.perturbation import Occlusion as Occlusion
    from pellucid.attribution.propagation.backprop import Deconvolution as Deconvolution
    from pellucid.attribution.propagation.backprop import GuidedBackprop as GuidedBackprop
    from pellucid.attribution.propagation.backprop import GuidedGradCAM as GuidedGradCAM
    from pellucid.attribution.propagation.lrp import LRP as LRP
    from pellucid.attribution.sage import SAGE as SAGE
    from pellucid.attribution.shapley import ExactShapley as ExactShapley
    from pellucid.attribution.shapley import KernelSHAP as KernelSHAP
    from pellucid.attribution.shapley import LeverageSHAP as LeverageSHAP
    from pellucid.attribution.shapley import PermutationSHAP as PermutationSHAP
    from pellucid.attribution.smooth import Smooth as Smooth
    from pellucid.attribution.smooth import SmoothGrad as SmoothGrad
    from pellucid.attribution.smooth import VarGrad as VarGrad
    from pellucid.core.blackbox import BlackBox as BlackBox
    from pellucid.core.evidence import Check as Check
    from pellucid.core.evidence import Control as Control
    from pellucid.core.evidence import Evidence as Evidence
    from pellucid.core.modality import Images as Images
    from pellucid.core.modality import Modality as Modality
    from pellucid.core.modality import Series as Series
    from pellucid.core.modality import Table as Table
    from pellucid.core.modality import Text as Text
    from pellucid.core.model import Layer as Layer
    from pellucid.core.model import Model as Model
    from pellucid.core.places import Neuron as Neuron
    from pellucid.core.places import Region as Region
    from pellucid.core.places import Token as Token
    from pellucid.core.prediction import Prediction as Prediction
    from pellucid.core.result import Attribution as Attribution
    from pellucid.core.run import Receipt as Receipt
    from pellucid.core.run import current_settings as current_settings
    from pellucid.core.run import settings as settings
    from pellucid.core.store import read_result as read_result
    from pellucid.core.target import Class as Class
    from pellucid.core.target import Function as Function
    from pellucid.core.target import Loss as Loss
    from pellucid.core.target import Output as Output
    from pellucid.core.target import Probability as Probability
    from pellucid.core.target import Target as Target
    from pellucid.engines.features import Columns as Columns
    from pellucid.engines.features import Elements as Elements
    from pellucid.engines.features import Groups as Groups
    from pellucid.engines.features import Inputs as Inputs
    from pellucid.engines.features import Patches as Patches
    from pellucid.engines.features import Sentences as Sentences
    from pellucid.engines.features import Superpixels as Superpixels
    from pellucid.engines.features import Tokens as Tokens
    from pellucid.engines.features import Windows as Windows
    from pellucid.engines.features import Words as Words
    from pellucid.engines.fills import Blur as Blur
    from pellucid.engines.fills import Conditional as Conditional
    from pellucid.engines.fills import Constant as Constant
    from pellucid.engines.fills import DeleteToken as DeleteToken
    from pellucid.engines.fills import Inpaint as Inpaint
    from pellucid.engines.fills import Marginal as Marginal
    from pellucid.engines.fills import MaskToken as MaskToken
    from pellucid.engines.fills import Mean as Mean
    from pellucid.engines.fills import Noise as Noise
    from pellucid.engines.fills import Shuffle as Shuffle
    from pellucid.engines.fills import Zeros as Zeros
    from pellucid.evaluate.check import check as check
    from pellucid.explanation import Explanation as Explanation
    from pellucid.explanation import explain as explain
    from pellucid.loading import load as load
