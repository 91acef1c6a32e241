"""The catalogue: one row a method. Docs, command line and the law suite read it; a method is tested by being listed."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pellucid.errors import MethodError, nearest

EVERYTHING = ("image", "table", "text", "series", "tensor")
SPATIAL = ("image", "series")
IN_TOKENS = ("image", "text", "series", "tensor")


@dataclass(frozen=True)
class Entry:
    """A method: its public name, where it lives ("module:name"), its family, what it reads, and its paper.

    ``needs`` names what a model must have: "attention", or nothing in particular.
    """

    name: str
    place: str
    family: str
    modalities: tuple[str, ...]
    paper: str
    needs: str = ""


def _rows(place: str, family: str, *rows: tuple[str, tuple[str, ...], str], needs: str = "") -> tuple[Entry, ...]:
    return tuple(
        Entry(name, f"pellucid.attribution.{place}:{name}", family, modalities, paper, needs)
        for name, modalities, paper in rows
    )


METHODS: tuple[Entry, ...] = (
    *_rows(
        "gradient",
        "gradient",
        ("Saliency", EVERYTHING, "Simonyan, Vedaldi & Zisserman 2014, arXiv:1312.6034"),
        ("InputXGradient", EVERYTHING, "Shrikumar et al. 2016, arXiv:1605.01713"),
        ("FullGrad", SPATIAL, "Srinivas & Fleuret 2019, arXiv:1905.00780"),
    ),
    *_rows(
        "path",
        "path",
        ("IntegratedGradients", EVERYTHING, "Sundararajan, Taly & Yan 2017, arXiv:1703.01365"),
        ("ExpectedGradients", EVERYTHING, "Erion et al. 2021, arXiv:1906.10670"),
        ("Conductance", EVERYTHING, "Dhamdhere, Sundararajan & Yan 2018, arXiv:1805.12233"),
        ("BlurIG", SPATIAL, "Xu, Venugopalan & Sundararajan 2020, arXiv:2004.03383"),
        ("GuidedIG", EVERYTHING, "Kapishnikov et al. 2021, arXiv:2106.09788"),
        ("IDGI", EVERYTHING, "Yang, Wang & Bilgic 2023, arXiv:2303.14242"),
    ),
    *_rows(
        "smooth",
        "smooth",
        ("Smooth", EVERYTHING, "Smilkov et al. 2017, arXiv:1706.03825"),
        ("SmoothGrad", EVERYTHING, "Smilkov et al. 2017, arXiv:1706.03825"),
        ("VarGrad", EVERYTHING, "Adebayo et al. 2018, arXiv:1810.03307"),
    ),
    *_rows(
        "propagation.lrp",
        "propagation",
        ("LRP", EVERYTHING, "Bach et al. 2015, doi:10.1371/journal.pone.0130140"),
    ),
    *_rows(
        "propagation.deeplift",
        "propagation",
        ("DeepLIFT", EVERYTHING, "Shrikumar, Greenside & Kundaje 2017, arXiv:1704.02685"),
        ("DeepSHAP", EVERYTHING, "Lundberg & Lee 2017, arXiv:1705.07874"),
    ),
    *_rows(
        "propagation.transformers",
        "propagation",
        ("AttnLRP", EVERYTHING, "Achtibat et al. 2024, arXiv:2402.05602"),
        ("CPLRP", EVERYTHING, "Ali et al. 2022, arXiv:2202.07304"),
        ("LibraGrad", EVERYTHING, "Mehri, Soleymani Baghshah & Pilehvar 2025, arXiv:2411.16760"),
    ),
    *_rows(
        "propagation.crp",
        "propagation",
        ("CRP", EVERYTHING, "Achtibat et al. 2023, arXiv:2206.03208"),
    ),
    *_rows(
        "propagation.backprop",
        "propagation",
        ("GuidedBackprop", EVERYTHING, "Springenberg et al. 2015, arXiv:1412.6806"),
        ("Deconvolution", EVERYTHING, "Zeiler & Fergus 2014, arXiv:1311.2901"),
        ("GuidedGradCAM", SPATIAL, "Selvaraju et al. 2017, arXiv:1610.02391"),
    ),
    *_rows(
        "cam.gradient",
        "cam",
        ("CAM", SPATIAL, "Zhou et al. 2016, arXiv:1512.04150"),
        ("GradCAM", SPATIAL, "Selvaraju et al. 2017, arXiv:1610.02391"),
        ("GradCAMPlusPlus", SPATIAL, "Chattopadhyay et al. 2018, arXiv:1710.11063"),
        ("XGradCAM", SPATIAL, "Fu et al. 2020, arXiv:2008.02312"),
        ("HiResCAM", SPATIAL, "Draelos & Carin 2020, arXiv:2011.08891"),
        ("LayerCAM", SPATIAL, "Jiang et al. 2021, doi:10.1109/TIP.2021.3089943"),
    ),
    *_rows(
        "cam.eigen",
        "cam",
        ("EigenCAM", SPATIAL, "Muhammad & Yeasin 2020, arXiv:2008.00299"),
        ("EigenGradCAM", SPATIAL, "Gildenblat 2021, pytorch-grad-cam"),
        ("FEM", SPATIAL, "Fuad et al. 2020, doi:10.1109/IPTA50016.2020.9286629"),
    ),
    *_rows(
        "cam.asking",
        "cam",
        ("ScoreCAM", SPATIAL, "Wang et al. 2020, arXiv:1910.01279"),
        ("AblationCAM", SPATIAL, "Desai & Ramaswamy 2020, doi:10.1109/WACV45572.2020.9093360"),
    ),
    *_rows(
        "attention.weights",
        "attention",
        ("AttentionWeights", IN_TOKENS, "Vaswani et al. 2017, arXiv:1706.03762"),
        ("AttentionNorms", IN_TOKENS, "Kobayashi et al. 2020, arXiv:2004.10102"),
        needs="attention",
    ),
    *_rows(
        "attention.rollout",
        "attention",
        ("AttentionRollout", IN_TOKENS, "Abnar & Zuidema 2020, arXiv:2005.00928"),
        ("AttentionFlow", IN_TOKENS, "Abnar & Zuidema 2020, arXiv:2005.00928"),
        needs="attention",
    ),
    *_rows(
        "attention.relevance",
        "attention",
        ("AttentionRelevance", IN_TOKENS, "Chefer, Gur & Wolf 2021, arXiv:2103.15679"),
        needs="attention",
    ),
    *_rows(
        "perturbation",
        "perturbation",
        ("Occlusion", EVERYTHING, "Zeiler & Fergus 2014, arXiv:1311.2901"),
        ("Ablation", EVERYTHING, "Zeiler & Fergus 2014, arXiv:1311.2901"),
    ),
    *_rows(
        "lime",
        "lime",
        ("LIME", EVERYTHING, "Ribeiro, Singh & Guestrin 2016, arXiv:1602.04938"),
    ),
    *_rows(
        "masks",
        "masks",
        ("RISE", EVERYTHING, "Petsiuk, Das & Saenko 2018, arXiv:1806.07421"),
        ("Sobol", EVERYTHING, "Fel et al. 2021, arXiv:2111.04138"),
        ("HSIC", EVERYTHING, "Novello, Fel & Vigouroux 2022, arXiv:2206.06219"),
    ),
    *_rows(
        "shapley",
        "shapley",
        ("ExactShapley", EVERYTHING, "Shapley 1953, A value for n-person games"),
        ("KernelSHAP", EVERYTHING, "Lundberg & Lee 2017, arXiv:1705.07874"),
        ("LeverageSHAP", EVERYTHING, "Musco & Witter 2025, arXiv:2410.01917"),
        ("PermutationSHAP", EVERYTHING, "Castro, Gómez & Tejada 2009; Mitchell et al. 2022, arXiv:2104.12199"),
    ),
    *_rows(
        "coalitional",
        "shapley",
        ("Banzhaf", EVERYTHING, "Banzhaf 1965; Liu et al. 2024, arXiv:2410.08336"),
        ("Owen", EVERYTHING, "Owen 1977; Winter 1989"),
        ("RegressionMSR", EVERYTHING, "Witter, Liu & Musco 2025, arXiv:2506.11849"),
    ),
    *_rows(
        "interactions",
        "shapley",
        ("ShapleyInteractions", EVERYTHING, "Grabisch & Roubens 1999; Tsai, Yeh & Ravikumar 2023, arXiv:2203.00870"),
    ),
)


@dataclass(frozen=True)
class View:
    """A look inside the network: its public name, what it reads, and its paper."""

    name: str
    modalities: tuple[str, ...]
    paper: str


VIEWS: tuple[View, ...] = (
    View("activations", EVERYTHING, "Yosinski et al. 2015, arXiv:1506.06579"),
    View("unit_statistics", EVERYTHING, "Lu et al. 2020, arXiv:1903.06733 (units that die)"),
    View("top_examples", EVERYTHING, "Zeiler & Fergus 2014, arXiv:1311.2901"),
    View("receptive_field", EVERYTHING, "Luo et al. 2016, arXiv:1701.04128"),
    View("filters", EVERYTHING, "Krizhevsky, Sutskever & Hinton 2012"),
    View("weights", EVERYTHING, "Yoshida & Miyato 2017, arXiv:1705.10941 (spectra)"),
    View("filter_similarity", EVERYTHING, "Rodríguez et al. 2017, arXiv:1611.01967"),
    View("compare_weights", EVERYTHING, "Neyshabur, Sedghi & Zhang 2020, arXiv:2008.11687"),
    View(
        "visualize",
        EVERYTHING,
        "Erhan et al. 2009; Olah et al. 2017; Fel et al. 2023, arXiv:2306.06805",
    ),
    View("dream", SPATIAL, "Mordvintsev, Olah & Tyka 2015"),
    View("caricature", SPATIAL, "Olah et al. 2018"),
    View("dissect", SPATIAL, "Bau et al. 2017, arXiv:1704.05796"),
    View("name_units", EVERYTHING, "Dalvi et al. 2019, arXiv:1812.09355"),
    View("CKA", EVERYTHING, "Kornblith et al. 2019, arXiv:1905.00414; Nguyen et al. 2021, arXiv:2010.15327"),
    View("layer_map", EVERYTHING, "van der Maaten & Hinton 2008; McInnes, Healy & Melville 2018, arXiv:1802.03426"),
    View("DeepFeatureFactorization", SPATIAL, "Collins, Achanta & Süsstrunk 2018, arXiv:1806.10206"),
)


def entry(name: str) -> Entry:
    """The row of a method; MethodError with near names where there is none.

    >>> entry("KernelSHAP").family
    'shapley'
    """
    for each in METHODS:
        if each.name.lower() == name.lower():
            return each
    raise MethodError(
        expected="the name of a method", got=repr(name), do=nearest(name, [each.name for each in METHODS])
    )


def find(name: str) -> Any:
    """The class of a method, imported on demand."""
    module, attribute = entry(name).place.split(":")
    return getattr(import_module(module), attribute)
