"""A sentence with a turn in it: which words carry the judgment, and for which side."""

import pellucid as pl

model = pl.load("demo:sentences")
sentence = "The service was slow, but the food was wonderful."

print(model(sentence))
for method in (pl.IntegratedGradients(), pl.KernelSHAP()):
    print(method(model, sentence).figure().text())
print(pl.explain(model, sentence).save("sentence.html"))
