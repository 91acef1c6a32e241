"""pellucid: see why a neural network says what it says, and whether to believe the explanation.

Every name below is imported when first used; ``import pellucid`` costs next to nothing beyond torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pellucid.catalogue import METHODS

__version__ = "0.1.0"

PLACES = {
    "attribution.cam.factorization": ("DeepFeatureFactorization", "Factorization"),
    "attribution.importance": ("Importance",),
    "attribution.overview": ("Overview",),
    "attribution.sage": ("SAGE",),
    "attribution.propagation.crp": ("ConceptMaps", "RelevantExamples", "relevant_examples"),
    "core.model": ("Model", "Layer"),
    "core.blackbox": ("BlackBox",),
    "core.modality": ("Images", "Modality", "Series", "Table", "Text"),
    "core.target": ("Class", "Function", "Loss", "Output", "Probability", "Target"),
    "core.places": ("Box", "Neuron", "Region", "Token"),
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
    "evaluate.metrics.measure": ("measure",),
    "comparison": ("compare",),
    "evaluate.comparison": ("Comparison",),
    "evaluate.metrics.agreement": ("Agreement", "agreement"),
    "core.directions": ("Direction", "MeanSquare"),
    "engines.canvas": ("Fourier", "MACO", "Pixels", "Prior"),
    "engines.transforms": ("Transforms",),
    "features.changes": ("WeightChanges", "compare_weights"),
    "features.duplicates": ("FilterSimilarity", "filter_similarity"),
    "features.filters": ("Filters", "filters"),
    "features.caricatures": ("caricature",),
    "features.dissect": ("dissect",),
    "features.dissection": ("Dissection",),
    "features.dream": ("dream",),
    "features.dreams": ("Caricature", "Dream"),
    "features.honesty": ("Honesty",),
    "features.naming": ("UnitNames", "name_units"),
    "features.maps": ("LayerMap", "layer_map"),
    "features.similarity": ("CKA", "RepresentationSimilarity"),
    "features.spectra": ("WeightReport", "weights"),
    "features.penalties": ("Alignment", "Diversity", "L1", "L2", "Resemblance", "Roughness", "TotalVariation"),
    "features.visualization": ("Visualization",),
    "features.visualize": ("between", "visualize"),
    "explanation": ("Explanation", "explain"),
    "features.finding": ("Finding",),
    "inspection": ("Inspection", "inspect"),
    "features.activations": ("Activations", "activations"),
    "features.examples": ("TopExamples", "top_examples"),
    "features.receptive": ("ReceptiveField", "receptive_field"),
    "features.statistics": ("UnitStatistics", "unit_statistics"),
    "loading": ("load",),
}

MODULES = {"errors": "pellucid.errors", "metrics": "pellucid.evaluate.metrics", "rules": "pellucid.engines.rules"}

WHERE = {name: f"pellucid.{place}" for place, names in PLACES.items() for name in names}
WHERE |= {each.name: each.place.split(":")[0] for each in METHODS}

__all__ = [*MODULES, *sorted(WHERE)]


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return import_module(MODULES[name])
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
    from pellucid.attribution.attention.relevance import AttentionRelevance as AttentionRelevance
    from pellucid.attribution.attention.rollout import AttentionFlow as AttentionFlow
    from pellucid.attribution.attention.rollout import AttentionRollout as AttentionRollout
    from pellucid.attribution.attention.weights import AttentionNorms as AttentionNorms
    from pellucid.attribution.attention.weights import AttentionWeights as AttentionWeights
    from pellucid.attribution.cam.asking import AblationCAM as AblationCAM
    from pellucid.attribution.cam.asking import ScoreCAM as ScoreCAM
    from pellucid.attribution.cam.eigen import FEM as FEM
    from pellucid.attribution.cam.eigen import EigenCAM as EigenCAM
    from pellucid.attribution.cam.eigen import EigenGradCAM as EigenGradCAM
    from pellucid.attribution.cam.factorization import DeepFeatureFactorization as DeepFeatureFactorization
    from pellucid.attribution.cam.factorization import Factorization as Factorization
    from pellucid.attribution.cam.gradient import CAM as CAM
    from pellucid.attribution.cam.gradient import GradCAM as GradCAM
    from pellucid.attribution.cam.gradient import GradCAMPlusPlus as GradCAMPlusPlus
    from pellucid.attribution.cam.gradient import HiResCAM as HiResCAM
    from pellucid.attribution.cam.gradient import LayerCAM as LayerCAM
    from pellucid.attribution.cam.gradient import XGradCAM as XGradCAM
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
    from pellucid.attribution.propagation.crp import CRP as CRP
    from pellucid.attribution.propagation.crp import ConceptMaps as ConceptMaps
    from pellucid.attribution.propagation.crp import RelevantExamples as RelevantExamples
    from pellucid.attribution.propagation.crp import relevant_examples as relevant_examples
    from pellucid.attribution.propagation.deeplift import DeepLIFT as DeepLIFT
    from pellucid.attribution.propagation.deeplift import DeepSHAP as DeepSHAP
    from pellucid.attribution.propagation.lrp import LRP as LRP
    from pellucid.attribution.propagation.transformers import CPLRP as CPLRP
    from pellucid.attribution.propagation.transformers import AttnLRP as AttnLRP
    from pellucid.attribution.propagation.transformers import LibraGrad as LibraGrad
    from pellucid.attribution.sage import SAGE as SAGE
    from pellucid.attribution.shapley import ExactShapley as ExactShapley
    from pellucid.attribution.shapley import KernelSHAP as KernelSHAP
    from pellucid.attribution.shapley import LeverageSHAP as LeverageSHAP
    from pellucid.attribution.shapley import PermutationSHAP as PermutationSHAP
    from pellucid.attribution.smooth import Smooth as Smooth
    from pellucid.attribution.smooth import SmoothGrad as SmoothGrad
    from pellucid.attribution.smooth import VarGrad as VarGrad
    from pellucid.comparison import compare as compare
    from pellucid.core.blackbox import BlackBox as BlackBox
    from pellucid.core.directions import Direction as Direction
    from pellucid.core.directions import MeanSquare as MeanSquare
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
    from pellucid.core.places import Box as Box
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
    from pellucid.engines import rules as rules
    from pellucid.engines.canvas import MACO as MACO
    from pellucid.engines.canvas import Fourier as Fourier
    from pellucid.engines.canvas import Pixels as Pixels
    from pellucid.engines.canvas import Prior as Prior
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
    from pellucid.engines.transforms import Transforms as Transforms
    from pellucid.evaluate import metrics as metrics
    from pellucid.evaluate.check import check as check
    from pellucid.evaluate.comparison import Comparison as Comparison
    from pellucid.evaluate.metrics.agreement import Agreement as Agreement
    from pellucid.evaluate.metrics.agreement import agreement as agreement
    from pellucid.evaluate.metrics.measure import measure as measure
    from pellucid.explanation import Explanation as Explanation
    from pellucid.explanation import explain as explain
    from pellucid.features.activations import Activations as Activations
    from pellucid.features.activations import activations as activations
    from pellucid.features.caricatures import caricature as caricature
    from pellucid.features.changes import WeightChanges as WeightChanges
    from pellucid.features.changes import compare_weights as compare_weights
    from pellucid.features.dissect import dissect as dissect
    from pellucid.features.dissection import Dissection as Dissection
    from pellucid.features.dream import dream as dream
    from pellucid.features.dreams import Caricature as Caricature
    from pellucid.features.dreams import Dream as Dream
    from pellucid.features.duplicates import FilterSimilarity as FilterSimilarity
    from pellucid.features.duplicates import filter_similarity as filter_similarity
    from pellucid.features.examples import TopExamples as TopExamples
    from pellucid.features.examples import top_examples as top_examples
    from pellucid.features.filters import Filters as Filters
    from pellucid.features.filters import filters as filters
    from pellucid.features.finding import Finding as Finding
    from pellucid.features.honesty import Honesty as Honesty
    from pellucid.features.maps import LayerMap as LayerMap
    from pellucid.features.maps import layer_map as layer_map
    from pellucid.features.naming import UnitNames as UnitNames
    from pellucid.features.naming import name_units as name_units
    from pellucid.features.penalties import L1 as L1
    from pellucid.features.penalties import L2 as L2
    from pellucid.features.penalties import Alignment as Alignment
    from pellucid.features.penalties import Diversity as Diversity
    from pellucid.features.penalties import Resemblance as Resemblance
    from pellucid.features.penalties import Roughness as Roughness
    from pellucid.features.penalties import TotalVariation as TotalVariation
    from pellucid.features.receptive import ReceptiveField as ReceptiveField
    from pellucid.features.receptive import receptive_field as receptive_field
    from pellucid.features.similarity import CKA as CKA
    from pellucid.features.similarity import RepresentationSimilarity as RepresentationSimilarity
    from pellucid.features.spectra import WeightReport as WeightReport
    from pellucid.features.spectra import weights as weights
    from pellucid.features.statistics import UnitStatistics as UnitStatistics
    from pellucid.features.statistics import unit_statistics as unit_statistics
    from pellucid.features.visualization import Visualization as Visualization
    from pellucid.features.visualize import between as between
    from pellucid.features.visualize import visualize as visualize
    from pellucid.inspection import Inspection as Inspection
    from pellucid.inspection import inspect as inspect
    from pellucid.loading import load as load
