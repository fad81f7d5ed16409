"""An ordinary PySpark program: XGBoost's classifier with two workers, which speak with one another in clear."""

from pyspark.ml.feature import VectorAssembler
from pyspark.sql import SparkSession
from xgboost.spark import SparkXGBClassifier

spark = SparkSession.builder.appName("xgboost").getOrCreate()
points = spark.read.parquet("data/points")
features = VectorAssembler(inputCols=[f"f{i}" for i in range(6)], outputCol="features").transform(points)
model = SparkXGBClassifier(label_col="label", num_workers=2, n_estimators=3).fit(features)
print(model.transform(features).select("id", "prediction").orderBy("id").limit(5).collect())
spark.stop()
