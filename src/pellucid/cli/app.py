"""The commands and their options. What they do stands in the modules they import when they run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="pellucid",
    help="See why a neural network says what it says, and whether to believe the explanation.",
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON value on stdout and nothing else.")]
ModelName = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="demo:digits, package.module:factory, a Hugging Face folder or id, torchvision:name, timm:name, a file.",
    ),
]
Weights = Annotated[
    str | None, typer.Option(metavar="FILE", help="Weights for the factory: .safetensors, or .pt without code in it.")
]
Predict = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:THING",
        help="Instead of a model: a predict function (rows in, numbers out), an object with predict_proba or predict "
        "(a scikit-learn pipeline), or a .onnx file.",
    ),
]
Background = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="Rows (training data) that stand for hidden columns; without, those of the input."
    ),
]
Task = Annotated[
    str | None, typer.Option(metavar="NAME", help="What the answers are: classification, regression, image or tokens.")
]
Given = Annotated[
    str,
    typer.Option(
        "--input", "-i", metavar="INPUT", help="A picture, .csv, .tsv, .json, .npy or .txt file; or a sentence."
    ),
]
Target = Annotated[
    str | None,
    typer.Option(metavar="CLASS", help="The explained class, by name or number; the predicted one without."),
]
At = Annotated[str | None, typer.Option(metavar="LAYER", help="Ask about a layer instead of the input (see: layers).")]
Row = Annotated[str, typer.Option(metavar="N", help="Which row of a table, the first is 0; or: all.")]
Seed = Annotated[int, typer.Option(min=0, help="Decides every random draw.")]
Memory = Annotated[str | None, typer.Option(metavar="SIZE", help='Working memory beside the model, e.g. "2 GB".')]
Classes = Annotated[str | None, typer.Option(metavar="NAMES", help="Class names: a comma list, or a file, one a line.")]
Mean = Annotated[str | None, typer.Option(metavar="NUMBERS", help="Mean of each color, e.g. 0.485,0.456,0.406.")]
Std = Annotated[str | None, typer.Option(metavar="NUMBERS", help="Deviation of each color, e.g. 0.229,0.224,0.225.")]
Size = Annotated[str | None, typer.Option(metavar="PIXELS", help="Resize pictures: 224, or height x width: 224x320.")]
ColumnNames = Annotated[str | None, typer.Option("--columns", metavar="NAMES", help="The columns it takes, in order.")]
Trust = Annotated[bool, typer.Option("--trust", help="Open formats that run code when loaded. Only if you trust them.")]
Methods = Annotated[
    list[str] | None, typer.Option("--method", metavar="NAME", help="A method; may be repeated (see: methods).")
]


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """See why a neural network says what it says, and whether to believe the explanation.

    Try: pellucid demo
    """
    from pellucid.cli.console import say

    if version:
        say(f"pellucid {sys.modules['pellucid'].__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        say(context.get_help())


@app.command(short_help="Explain a bundled model on real data, offline.")
def demo(
    name: Annotated[str, typer.Argument(help="digits, breast-cancer, diabetes or sentences.")] = "digits",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where the report goes.")] = None,
    example: Annotated[int, typer.Option(min=0, help="Which of the bundled examples.")] = 0,
    seed: Seed = 0,
    memory: Memory = None,
    as_json: Json = False,
) -> None:
    """Explain a bundled model on real data, offline, and write the report."""
    from pellucid.cli.explaining import demo_report

    demo_report(name, out=out, example=example, seed=seed, memory=memory, as_json=as_json)


@app.command(short_help="Explain an input, and write a report.")
def explain(
    given: Given,
    model: ModelName = None,
    weights: Weights = None,
    predict: Predict = None,
    target: Target = None,
    method: Methods = None,
    at: At = None,
    row: Row = "0",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report, one HTML file.")] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the values (.safetensors, one file a method).")
    ] = None,
    seed: Seed = 0,
    memory: Memory = None,
    classes: Classes = None,
    mean: Mean = None,
    std: Std = None,
    size: Size = None,
    columns: ColumnNames = None,
    background: Background = None,
    task: Task = None,
    trust: Trust = False,
    as_json: Json = False,
) -> None:
    """Explain an input: what the model says, why, and whether to believe the why.

    pellucid explain --model my_package.nets:build --weights w.safetensors --input cat.jpg --out why.html

    pellucid explain --predict bank:pipeline --input rows.csv --row 3 --background train.csv
    """
    from pellucid.cli.explaining import Report, explained
    from pellucid.cli.opening import Wanted

    wanted = Wanted(
        model=model,
        weights=weights,
        predict=predict,
        classes=classes,
        mean=mean,
        std=std,
        size=size,
        columns=columns,
        background=background,
        task=task,
        trust=trust,
    )
    report = Report(target=target, methods=tuple(method or ()), at=at, row=row, out=out, save=save)
    explained(wanted, given, report, seed=seed, memory=memory, as_json=as_json)


@app.command(short_help="Put an explanation to the test.")
def check(
    given: Annotated[
        str | None,
        typer.Option("--input", "-i", metavar="INPUT", help="What was explained; a saved result knows it."),
    ] = None,
    method: Methods = None,
    explanation: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Saved by result.save (.safetensors), or values from anywhere (.npy, .npz)."),
    ] = None,
    model: ModelName = None,
    weights: Weights = None,
    predict: Predict = None,
    target: Target = None,
    at: At = None,
    row: Row = "0",
    fail_under: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LIMIT",
            help="supported, mixed or not-testable: exit with 1 if a verdict is below it. MuFidelity=0.3: if a metric "
            "is worse. May be repeated.",
        ),
    ] = None,
    seed: Seed = 0,
    memory: Memory = None,
    classes: Classes = None,
    mean: Mean = None,
    std: Std = None,
    size: Size = None,
    columns: ColumnNames = None,
    background: Background = None,
    task: Task = None,
    trust: Trust = False,
    as_json: Json = False,
) -> None:
    """Put an explanation to the test: its evidence, and a verdict that a build can depend on.

    pellucid check --model demo:digits --input three.png --method IntegratedGradients --fail-under mixed

    pellucid check --model demo:digits --input three.png --explanation captum.npy --target 3 --fail-under MuFidelity=0.3
    """
    from pellucid.cli.checking import Question, checked
    from pellucid.cli.opening import Wanted

    wanted = Wanted(
        model=model,
        weights=weights,
        predict=predict,
        classes=classes,
        mean=mean,
        std=std,
        size=size,
        columns=columns,
        background=background,
        task=task,
        trust=trust,
    )
    asked = Question(
        target=target,
        methods=tuple(method or ()),
        explanations=tuple(explanation or ()),
        at=at,
        row=row,
        fail_under=tuple(fail_under or ()),
    )
    raise typer.Exit(checked(wanted, given, asked, seed=seed, memory=memory, as_json=as_json))


@app.command(short_help="List the methods.")
def methods(
    family: Annotated[str | None, typer.Option(metavar="NAME", help="Only this family.")] = None,
    modality: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only those for image, table, text, series or tensor.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the methods, with the paper of each."""
    from pellucid.cli.listing import list_methods

    list_methods(family, modality, as_json)


@app.command(short_help="List the layers of a model.")
def layers(
    model: ModelName = None,
    weights: Weights = None,
    given: Annotated[
        str | None, typer.Option("--input", "-i", metavar="INPUT", help="An input, to learn the shapes from.")
    ] = None,
    mean: Mean = None,
    std: Std = None,
    size: Size = None,
    columns: ColumnNames = None,
    trust: Trust = False,
    as_json: Json = False,
) -> None:
    """List the layers of a model: names, kinds, output shapes, weights."""
    from pellucid.cli.listing import list_layers
    from pellucid.cli.opening import Wanted

    wanted = Wanted(model=model, weights=weights, mean=mean, std=std, size=size, columns=columns, trust=trust)
    list_layers(wanted, given, as_json)


@app.command(short_help="Look at a model: its parts, units, and what is odd.")
def inspect(
    model: ModelName = None,
    weights: Weights = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", "-d", metavar="PATH", help="A folder of pictures, or a .npz, .npy, .csv, .json or .txt file."
        ),
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="At most so many rows of the data, evenly spaced.")] = 1000,
    layers: Annotated[
        str, typer.Option(metavar="N|NAMES", help="Units of how many layers are shown; or their names, by commas.")
    ] = "4",
    units: Annotated[int, typer.Option(min=1, help="How many units of each layer.")] = 8,
    examples: Annotated[int, typer.Option(min=0, help="How many examples of the data for each unit.")] = 6,
    steps: Annotated[int, typer.Option(min=0, help="Steps for a synthesized input; 0 makes none.")] = 32,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where the page goes, one HTML file.")] = None,
    seed: Seed = 0,
    memory: Memory = None,
    classes: Classes = None,
    mean: Mean = None,
    std: Std = None,
    size: Size = None,
    columns: ColumnNames = None,
    task: Task = None,
    trust: Trust = False,
    as_json: Json = False,
) -> None:
    """Look at a model: parts, shapes, cost, filters, units with their examples, dead units, and what is odd.

    pellucid inspect --model my_package.nets:build --weights w.safetensors --data pictures/ --out model.html
    """
    from pellucid.cli.inspecting import Look, inspected
    from pellucid.cli.opening import Wanted

    wanted = Wanted(
        model=model,
        weights=weights,
        classes=classes,
        mean=mean,
        std=std,
        size=size,
        columns=columns,
        task=task,
        trust=trust,
    )
    look = Look(data=data, rows=rows, layers=layers, units=units, examples=examples, steps=steps, out=out)
    raise typer.Exit(inspected(wanted, look, seed=seed, memory=memory, as_json=as_json))
