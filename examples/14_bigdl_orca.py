# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = ["bigdl-orca-spark3==2.4.0", "bigdl-core==2.3.0", "numpy<2.3"]
# [tool.uv]
# override-dependencies = ["bigdl-core==2.3.0"]
# exclude-dependencies = ["pyspark", "conda-pack", "bigdl-math", "bigdl-tf"]
# ///
"""Orca of BigDL 2.4 as it was written for Spark 3: its estimator on a data frame, and on shards that pandas prepares.

It knows nothing of encryption. Plain:   python 14_bigdl_orca.py
On an encrypted table, models sealed:    confide run --tee simulated --profile spark35 14_bigdl_orca.py
"""

import numpy as np
from bigdl.dllib.keras.layers import Dense
from bigdl.dllib.keras.models import Sequential
from bigdl.dllib.keras.objectives import SparseCategoricalCrossEntropy
from bigdl.dllib.optim.optimizer import Adam
from bigdl.orca import OrcaContext, init_orca_context, stop_orca_context
from bigdl.orca.data.pandas import read_parquet
from bigdl.orca.learn.bigdl import Estimator
from bigdl.orca.learn.metrics import Accuracy

MODEL = "out/model/orca"


def estimator():
    model = Sequential()
    model.add(Dense(64, activation="tanh", input_shape=(64,)))
    model.add(Dense(10, activation="softmax"))
    return Estimator.from_bigdl(
        model=model,
        loss=SparseCategoricalCrossEntropy(),
        optimizer=Adam(learningrate=0.01),
        metrics=[Accuracy()],
        feature_preprocessing=[64],
        label_preprocessing=[1],
    )


def frames(train, test):
    """Train, evaluate, save, load, and predict with what was loaded."""
    trained = estimator()
    trained.fit(train, epochs=15, batch_size=128, feature_cols="pixels")
    found = trained.evaluate(test, batch_size=128, feature_cols="pixels")
    print(f"frame accuracy {found['Top1Accuracy']:.3f}")
    trained.save(MODEL)
    loaded = estimator().load(MODEL)
    scores = loaded.predict(test, batch_size=128, feature_cols="pixels")
    return scores.selectExpr("id", "label", "array_position(prediction, array_max(prediction)) - 1 AS found")


def arrays(frame, test):
    """A shard as the estimator takes it, of the rows for training or of the others."""
    rows = frame[(frame["id"] % 4 == 0) == test]
    return {"x": np.stack(rows["pixels"]).astype("float32"), "y": rows["label"].to_numpy()}


def shards(path):
    """Prepare shards with functions on pandas, train and evaluate on them."""
    digits = read_parquet(path)
    train, test = (digits.transform_shard(arrays, wanted) for wanted in (False, True))
    trained = estimator()
    trained.fit(train, epochs=15, batch_size=128)
    print(f"shards accuracy {trained.evaluate(test, batch_size=128)['Top1Accuracy']:.3f}")


def main():
    init_orca_context(cluster_mode="spark-submit")
    spark = OrcaContext.get_spark_session()
    digits = spark.read.parquet("data/digits")
    found = frames(digits.where("id % 4 > 0"), digits.where("id % 4 = 0"))
    found.write.mode("overwrite").parquet("out/scores")
    scores = spark.read.parquet("out/scores")
    print(f"loaded accuracy {scores.selectExpr('avg(int(found = label))').first()[0]:.3f}")
    shards("data/digits")
    # The model's files as rows, for whoever takes it home.
    files = spark.read.format("binaryFile").load("out/model").select("path", "content")
    files.write.mode("overwrite").parquet("out/weights")
    stop_orca_context()


if __name__ == "__main__":
    main()
