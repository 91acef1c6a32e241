"""A random forest has no gradients: KernelSHAP asks it about rows in which columns are hidden."""

from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier

import pellucid as pl

data = load_breast_cancer()
forest = RandomForestClassifier(n_estimators=30, random_state=0).fit(data.data[100:], data.target[100:])

table = pl.Table(columns=data.feature_names, background=data.data[100:])
box = pl.BlackBox(forest.predict_proba, inputs=table, classes=data.target_names)

shap = pl.KernelSHAP(budget=500)(box, data.data[0])
for column, value in shap.top(5):
    print(f"{column:25} {value:+.3f}")

print(pl.explain(box, data.data[0], methods=[pl.KernelSHAP(budget=500)]).save("forest.html"))
