"""An ordinary training program: scikit-learn on a table, the model left in ONNX.

It knows nothing of encryption. Plain:      python 05_train_and_export.py
On an encrypted table, to a sealed model:   confide run --tee simulated --profile python 05_train_and_export.py
Then:                                       confide serve --tee simulated out/model
"""

from pathlib import Path

import numpy as np
import pandas as pd
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

patients = pd.read_parquet("data/patients")
features = patients.drop(columns=["patient_id", "malignant"]).to_numpy(np.float32)
malignant = patients.malignant.to_numpy(np.int64)
train_x, test_x, train_y, test_y = train_test_split(features, malignant, random_state=7)

model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train_x, train_y)
print(f"accuracy on held-out patients: {model.score(test_x, test_y):.3f}")

Path("out/model").mkdir(parents=True, exist_ok=True)
exported = to_onnx(model, train_x[:1], options={"zipmap": False})
Path("out/model/model.onnx").write_bytes(exported.SerializeToString())
