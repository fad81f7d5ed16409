"""An ordinary scikit-learn program: trains a model, writes predictions and the model itself.

It knows nothing of encryption. Plain:      python 03_sklearn.py
On encrypted tables, in a measured image:   confide run --tee simulated --profile python 03_sklearn.py
"""

import pickle
from pathlib import Path

import pandas as pd
from sklearn.ensemble import RandomForestClassifier


def main():
    patients = pd.read_parquet("data/patients")
    test = patients["patient_id"] % 4 == 0
    features = patients.drop(columns=["patient_id", "malignant"])
    model = RandomForestClassifier(n_estimators=20, random_state=7)
    model.fit(features[~test], patients["malignant"][~test])

    scored = patients.loc[test, ["patient_id", "malignant"]].assign(
        score=model.predict_proba(features[test])[:, 1]
    )
    for folder in ("out/scores", "out/model"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    scored.to_parquet("out/scores/part.parquet", index=False)
    with Path("out/model/forest.pkl").open("wb") as file:
        pickle.dump(model, file)
    print(f"accuracy: {model.score(features[test], patients['malignant'][test]):.3f}")


if __name__ == "__main__":
    main()
