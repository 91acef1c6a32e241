"""Methods that only ask for predictions: time over the floor, and error at equal price, beside the peers."""

from __future__ import annotations

import contextlib
import io
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import pellucid as pl
from benchmarks.nets import resnet18
from benchmarks.timing import Case

FEATURES, BUDGET, ROWS = 30, 2048, 10
Estimates = Callable[[int], Tensor]


def network() -> nn.Module:
    """An MLP on 30 features whose probability bends: weights of four times the usual size."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(30, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2), nn.Softmax(1))
    with torch.no_grad():
        for part in net:
            if isinstance(part, nn.Linear):
                part.weight *= 4
    return net.eval()


def rows() -> Tensor:
    """Ten rows to explain."""
    return torch.randn(ROWS, FEATURES, generator=torch.Generator().manual_seed(3))


def forward(net: nn.Module, count: int, at_once: int) -> None:
    """``count`` predictions by plain eager torch."""
    x = torch.randn(at_once, FEATURES)
    with torch.inference_mode():
        for _ in range(count // at_once):
            net(x)


def table_cases() -> Iterator[Case]:
    """Shapley values of ten rows of a table at 2,048 predictions each."""
    net, x = network(), rows()
    model = pl.Model(network())
    one = pl.Probability(1)
    yield Case(
        "KernelSHAP 2048 × 10 rows, MLP",
        lambda: forward(net, BUDGET * ROWS, 2048),
        lambda: pl.KernelSHAP(budget=BUDGET, fill=0.0)(model, x, target=one),
        {
            "shap": lambda: shap_kernel(net, x, 0),
            "shapiq (paired)": lambda: shapiq_kernel(net, x, 0),
            "captum": lambda: captum_kernel(net, x, 0),
        },
        aim=3.0,
        rounds=5,
        threads=1,
    )
    yield Case(
        "PermutationSHAP 2048 × 10 rows, MLP",
        lambda: forward(net, BUDGET * ROWS, 2048),
        lambda: pl.PermutationSHAP(budget=BUDGET, fill=0.0)(model, x, target=one),
        {"shap": lambda: shap_permutation(net, x, 0), "shapiq": lambda: shapiq_permutation(net, x, 0)},
        aim=1.3,
        rounds=5,
        threads=1,
    )


OTHERS: dict[str, dict[str, Any]] = {
    "LeverageSHAP": {},
    "RegressionMSR": {"proxy": "tree"},
    "Banzhaf": {},
    "Owen": {},
    "ShapleyInteractions": {},
    "LIME": {},
    "RISE": {},
    "Sobol": {},
    "HSIC": {},
}


def other_cases() -> Iterator[Case]:
    """The other methods on the same rows and predictions; what they add to the floor is their own mathematics."""
    net, x = network(), rows()
    model = pl.Model(network())
    for name, options in OTHERS.items():
        method = getattr(pl, name)(budget=BUDGET, fill=0.0, **options)
        yield Case(
            f"{name} 2048 × 10 rows, MLP",
            lambda: forward(net, BUDGET * ROWS, 2048),
            lambda method=method: method(model, x, target=pl.Probability(1)),
            rounds=3,
            threads=1,
        )


def picture_cases() -> Iterator[Case]:
    """LIME on a picture: 1,000 samples, 50 segments."""
    from lime import lime_image

    net, plain = resnet18(), resnet18().requires_grad_(False).to(memory_format=torch.channels_last)
    model = pl.Model(resnet18())
    x = torch.rand(1, 3, 224, 224)
    segments = ((torch.arange(224)[:, None] * 7 // 224) * 7 + torch.arange(224)[None] * 7 // 224).expand(3, 224, 224)

    def floor() -> None:
        with torch.inference_mode():
            for _ in range(32):
                plain(x.expand(4, -1, -1, -1).contiguous(memory_format=torch.channels_last))

    explainer = lime_image.LimeImageExplainer(random_state=0)

    def theirs() -> Any:
        def predict(images: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                return net(torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2)).softmax(1).numpy()

        with contextlib.redirect_stderr(io.StringIO()):
            return explainer.explain_instance(
                x[0].permute(1, 2, 0).double().numpy(),
                predict,
                labels=(0,),
                top_labels=None,
                num_samples=1000,
                batch_size=8,
                segmentation_fn=lambda _: segments[0].numpy(),
            )

    yield Case(
        "RISE 256 masks, ResNet-18",
        lambda: [floor() for _ in range(2)],
        lambda: pl.RISE(budget=257)(model, x, target=0),
        rounds=2,
    )
    yield Case(
        "LIME 1000 samples, 49 segments, ResNet-18",
        floor,
        lambda: pl.LIME(budget=1000, features=pl.Groups(segments))(model, x, target=0),
        {"lime": theirs},
        aim=1.1,
        scale=1000 / 128,
        rounds=2,
    )


# --------------------------------------------------------------------------------------------------- the peers' calls


def probability(net: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    """The explained probability as a function on arrays."""

    def predict(values: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return net(torch.from_numpy(np.asarray(values, dtype=np.float32)))[:, 1].numpy()

    return predict


def shap_kernel(net: nn.Module, x: Tensor, seed: int) -> Tensor:
    """shap.KernelExplainer against zeros."""
    import shap

    np.random.seed(seed)  # noqa: NPY002 - what shap draws from
    explainer = shap.KernelExplainer(probability(net), np.zeros((1, FEATURES)))
    return torch.from_numpy(explainer.shap_values(x.numpy(), nsamples=BUDGET - 2, l1_reg=False, silent=True))


def shap_permutation(net: nn.Module, x: Tensor, seed: int) -> Tensor:
    """shap.PermutationExplainer against zeros."""
    import shap

    explainer = shap.PermutationExplainer(probability(net), np.zeros((1, FEATURES)), seed=seed)
    return torch.from_numpy(explainer(x.numpy(), max_evals=BUDGET, silent=True).values)


def shapiq_rows(kind: str, net: nn.Module, x: Tensor, seed: int, **options: Any) -> Tensor:
    """An approximator of shapiq, row by row."""
    import shapiq

    predict, found = probability(net), []
    for row in x.numpy():
        approximator = getattr(shapiq, kind)(n=FEATURES, random_state=seed, **options)
        values = approximator.approximate(BUDGET, lambda z, row=row: predict(np.atleast_2d(z) * row))
        found.append([values[(i,)] for i in range(FEATURES)])
    return torch.tensor(found, dtype=torch.float64)


def shapiq_kernel(net: nn.Module, x: Tensor, seed: int) -> Tensor:
    """shapiq.KernelSHAP with complements."""
    return shapiq_rows("KernelSHAP", net, x, seed, pairing_trick=True)


def shapiq_permutation(net: nn.Module, x: Tensor, seed: int) -> Tensor:
    """shapiq.PermutationSamplingSV."""
    return shapiq_rows("PermutationSamplingSV", net, x, seed)


def captum_kernel(net: nn.Module, x: Tensor, seed: int) -> Tensor:
    """captum.KernelShap, all samples in one call."""
    from captum.attr import KernelShap

    torch.manual_seed(seed)
    explainer = KernelShap(net)
    found = [explainer.attribute(row[None], target=1, n_samples=BUDGET, perturbations_per_eval=BUDGET) for row in x]
    return torch.cat(found)


# ------------------------------------------------------------------------------------------- error at the same price


def ours(kind: str, net: nn.Module, x: Tensor, **options: Any) -> Estimates:
    """A method of ours as a function of the seed."""

    def estimate(seed: int) -> Tensor:
        with pl.settings(seed=seed):
            method = getattr(pl, kind)(budget=BUDGET, fill=0.0, **options)
            return method(net, x, target=pl.Probability(1)).values.double()

    return estimate


def accuracy_table(seeds: int = 8) -> list[str]:
    """Mean squared error over the mean square of the truth (20,000 antithetic orders a row), mean over seeds."""
    from benchmarks.accuracy import permutation_truth

    net, x = network(), rows()
    truth = permutation_truth(net, x, 20_000)
    contestants: dict[str, tuple[Estimates, int]] = {
        "KernelSHAP": (ours("KernelSHAP", net, x), seeds),
        "LeverageSHAP": (ours("LeverageSHAP", net, x), seeds),
        "PermutationSHAP": (ours("PermutationSHAP", net, x), seeds),
        "RegressionMSR, tree": (ours("RegressionMSR", net, x, proxy="tree"), 3),
        "RegressionMSR, quadratic": (ours("RegressionMSR", net, x, proxy="quadratic"), seeds),
        "shap KernelExplainer": (lambda seed: shap_kernel(net, x, seed), seeds),
        "shapiq KernelSHAP, paired": (lambda seed: shapiq_kernel(net, x, seed), seeds),
        "shap PermutationExplainer": (lambda seed: shap_permutation(net, x, seed), 3),
        "captum KernelShap": (lambda seed: captum_kernel(net, x, seed), 3),
    }
    lines = [
        "## Shapley values at 2,048 predictions, 30 features",
        "",
        "Squared error over the mean square of the truth, 10 rows, an MLP's probability against zeros.",
        "",
        "| estimator | error (sd over seeds) | seeds |",
        "|---|---|---|",
    ]
    for name, (estimate, many) in contestants.items():
        errors = [float((estimate(s).double() - truth).square().mean() / truth.square().mean()) for s in range(many)]
        lines.append(f"| {name} | {statistics.mean(errors):.4f} ± {statistics.stdev(errors):.4f} | {many} |")
        print(lines[-1], flush=True)
    return lines
