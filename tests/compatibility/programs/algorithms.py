"""An ordinary PySpark program: a dozen of MLlib's algorithms on one table, each model saved, loaded and used again."""

from pyspark.ml.classification import (
    DecisionTreeClassifier,
    GBTClassifier,
    LinearSVC,
    LogisticRegression,
    MultilayerPerceptronClassifier,
    NaiveBayes,
    RandomForestClassifier,
)
from pyspark.ml.clustering import BisectingKMeans, GaussianMixture, KMeans
from pyspark.ml.feature import PCA, MinMaxScaler, VectorAssembler
from pyspark.ml.recommendation import ALS
from pyspark.ml.regression import GBTRegressor, LinearRegression, RandomForestRegressor
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = SparkSession.builder.appName("algorithms").getOrCreate()
points = spark.read.parquet("data/points").withColumn("rating", F.col("amount"))
columns = [f"f{i}" for i in range(6)]
features = VectorAssembler(inputCols=columns, outputCol="raw").transform(points)
features = MinMaxScaler(inputCol="raw", outputCol="features").fit(features).transform(features).cache()

ALGORITHMS = (
    LogisticRegression(maxIter=20),
    DecisionTreeClassifier(seed=1),
    RandomForestClassifier(numTrees=5, seed=1),
    GBTClassifier(maxIter=3, seed=1),
    LinearSVC(maxIter=10),
    NaiveBayes(),
    MultilayerPerceptronClassifier(layers=[6, 4, 2], maxIter=10, seed=1),
    LinearRegression(labelCol="amount"),
    RandomForestRegressor(labelCol="amount", numTrees=5, seed=1),
    GBTRegressor(labelCol="amount", maxIter=3, seed=1),
    KMeans(k=3, seed=1),
    BisectingKMeans(k=3, seed=1),
    GaussianMixture(k=2, seed=1),
    PCA(k=2, inputCol="features", outputCol="prediction"),
    ALS(rank=3, maxIter=3, seed=1, userCol="user", itemCol="item"),
)
for algorithm in ALGORITHMS:
    name = type(algorithm).__name__
    model = algorithm.fit(features)
    model.write().overwrite().save(f"out/models/{name}")
    again = type(model).load(f"out/models/{name}")
    rows = {
        label: [
            (row["id"], row["prediction"])
            for row in each.transform(features).select("id", "prediction").orderBy("id").limit(5).collect()
        ]
        for label, each in (("fitted", model), ("loaded", again))
    }
    print(name, rows["fitted"], rows["fitted"] == rows["loaded"])
spark.stop()
