"""An ordinary PySpark program: XGBoost's estimators for Spark, each with one worker."""

from pyspark.ml.feature import VectorAssembler
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from xgboost.spark import SparkXGBClassifier, SparkXGBRanker, SparkXGBRegressor

spark = SparkSession.builder.appName("xgboost").getOrCreate()
points = spark.read.parquet("data/points").withColumn("grade", F.floor(F.col("amount") / 200).cast("double"))
points = points.withColumn("grade", F.greatest(F.lit(0.0), "grade"))
columns = [f"f{i}" for i in range(6)]
features = VectorAssembler(inputCols=columns, outputCol="features").transform(points)
few = {"num_workers": 1, "n_estimators": 5, "max_depth": 3}
for estimator in (
    SparkXGBClassifier(label_col="label", **few),
    SparkXGBRegressor(label_col="amount", **few),
    SparkXGBRanker(label_col="grade", qid_col="user", **few),
):
    name = type(estimator).__name__
    model = estimator.fit(features)
    model.write().overwrite().save(f"out/models/{name}")
    again = type(model).load(f"out/models/{name}")
    for label, each in (("fitted", model), ("loaded", again)):
        rows = each.transform(features).select("id", "prediction").orderBy("id").limit(5).collect()
        print(name, label, [(row["id"], round(row["prediction"], 4)) for row in rows])
spark.stop()
