"""Forty patients at once: which columns matter, in which direction, and how much each lowers the loss."""

import pellucid as pl
from pellucid.demo import parts

model = pl.load("demo:breast-cancer")
demo = parts("breast-cancer")
rows, labels = demo.examples[:40], demo.labels[:40]

shap = pl.KernelSHAP(budget=500)(model, rows, target="malignant")
seen = pl.Overview(shap)
print(seen.importance().figure(6).text())
print(seen.dependence("worst area", color="mean texture").text())
print(seen.clusters(3).means_figure(6).text())
seen.beeswarm().plot().savefig("beeswarm.png")

print(pl.SAGE()(model, rows, target=labels).figure(6).text())
