"""A scikit-learn pipeline with a column of texts: asked as it is, in the units of its table, each row only once."""

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import pellucid as pl

wine = load_wine(as_frame=True)
frame = wine.data[["alcohol", "flavanoids", "color_intensity", "proline"]]
frame = frame.assign(
    shade=np.where(wine.data["hue"] < 0.8, "brick", np.where(wine.data["hue"] < 1.1, "ruby", "purple"))
)
names = pd.Series(wine.target_names)[wine.target]

numbers = ["alcohol", "flavanoids", "color_intensity", "proline"]
first = make_column_transformer((StandardScaler(), numbers), (OneHotEncoder(), ["shade"]))
pipeline = make_pipeline(first, LogisticRegression()).fit(frame[20:], names[20:])

# The table knows columns, levels and typical rows from the frame; the pipeline gets frames back.
table = pl.Table.of(frame[20:])
box = pl.BlackBox(pipeline.predict_proba, inputs=table, classes=pipeline.classes_, cache="wine.db")
print(box(frame[:1]))

shap = pl.ExactShapley()(box, frame[:1])
print(shap.figure().text())

# Ablation hides the same columns: nothing new is asked.
before = box.asked
print(pl.Ablation()(box, frame[:1]).top(2))
print(f"{before} rows asked for Shapley values, {box.asked - before} more for Ablation")
print(pl.explain(box, frame[:1], source="a wine").save("wine.html"))
