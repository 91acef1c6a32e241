"""A handwritten digit: what the network says, where it looks, and whether the picture of that can be believed."""

import pellucid as pl
from pellucid.demo import parts

model = pl.load("demo:digits")
picture = parts("digits").examples[0]

print(model(picture))
heat = pl.IntegratedGradients()(model, picture)
print(heat)
print(pl.check(heat, model))

report = pl.explain(model, picture, source="a handwritten digit")
print(report.save("digit.html"))
