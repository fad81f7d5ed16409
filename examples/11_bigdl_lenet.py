# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = ["bigdl-dllib-spark3==2.4.0", "bigdl-core==2.3.0"]
# [tool.uv]
# override-dependencies = ["bigdl-core==2.3.0", "conda-pack ; sys_platform == 'never'"]
# exclude-dependencies = ["pyspark"]
# ///
"""BigDL 2.4 as it was written for Spark 3: LeNet on handwritten digits, then a classifier in an ML pipeline.

It knows nothing of encryption. Plain:   python 11_bigdl_lenet.py
On an encrypted table, models sealed:    confide run --tee simulated --profile spark35 11_bigdl_lenet.py
"""

from bigdl.dllib.keras.layers import Convolution2D, Dense, Flatten, MaxPooling2D, Reshape
from bigdl.dllib.keras.models import Sequential
from bigdl.dllib.keras.optimizers import Adam
from bigdl.dllib.net import Net
from bigdl.dllib.nn.criterion import ClassNLLCriterion
from bigdl.dllib.nn.layer import Linear, LogSoftMax
from bigdl.dllib.nn.layer import Sequential as Layers
from bigdl.dllib.nncontext import init_nncontext
from bigdl.dllib.nnframes import NNClassifier
from pyspark.ml import Pipeline
from pyspark.ml.feature import MinMaxScaler
from pyspark.ml.functions import array_to_vector
from pyspark.sql import SparkSession

MODEL = "out/model/lenet"


def lenet():
    model = Sequential()
    model.add(Reshape((1, 8, 8), input_shape=(64,)))
    model.add(Convolution2D(6, 3, 3, border_mode="same", activation="tanh"))
    model.add(MaxPooling2D())
    model.add(Convolution2D(16, 3, 3, border_mode="same", activation="tanh"))
    model.add(Flatten())
    model.add(Dense(64, activation="tanh"))
    model.add(Dense(10, activation="softmax"))
    model.compile(optimizer=Adam(lr=0.01), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def deep(train, test):
    """Train, evaluate, save, load, and predict with what was loaded."""
    model = lenet()
    columns = {"feature_cols": ["pixels"], "label_cols": ["label"]}
    model.fit(train, batch_size=128, nb_epoch=15, **columns)
    _, accuracy = model.evaluate(test, batch_size=128, **columns)
    print(f"lenet accuracy {accuracy:.3f}")
    model.saveModel(f"{MODEL}.bigdl", f"{MODEL}.bin", over_write=True)
    loaded = Net.load(f"{MODEL}.bigdl", f"{MODEL}.bin")
    scores = loaded.predict(test, feature_cols=["pixels"], prediction_col="scores")
    return scores.selectExpr("id", "label", "array_position(scores, array_max(scores)) - 1 AS found")


def shallow(train, test):
    """NNFrames: a classifier of BigDL as the last stage of an ML pipeline. Its labels begin at 1."""
    layers = Layers().add(Linear(64, 10)).add(LogSoftMax())
    classifier = (
        NNClassifier(layers, ClassNLLCriterion()).setBatchSize(128).setMaxEpoch(8).setLearningRate(0.5)
    )
    pipeline = Pipeline(stages=[MinMaxScaler(inputCol="vector", outputCol="features"), classifier])
    frames = [
        frame.withColumn("vector", array_to_vector("pixels")).selectExpr("vector", "label + 1 AS label")
        for frame in (train, test)
    ]
    found = pipeline.fit(frames[0]).transform(frames[1])
    print(f"classifier accuracy {found.selectExpr('avg(int(prediction = label))').first()[0]:.3f}")


def main():
    spark = SparkSession(init_nncontext())
    digits = spark.read.parquet("data/digits")
    train, test = digits.where("id % 4 > 0").cache(), digits.where("id % 4 = 0").cache()
    deep(train, test).write.mode("overwrite").parquet("out/scores")
    scores = spark.read.parquet("out/scores")
    print(f"loaded accuracy {scores.selectExpr('avg(int(found = label))').first()[0]:.3f}")
    shallow(train, test)
    # The model's files as rows, for whoever takes it home.
    files = spark.read.format("binaryFile").load("out/model").select("path", "content")
    files.write.mode("overwrite").parquet("out/weights")


if __name__ == "__main__":
    main()
