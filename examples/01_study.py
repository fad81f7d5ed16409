"""An ordinary PySpark program: SQL, DataFrames, MLlib and a Python function over three tables.

It knows nothing of encryption. Plain:      python 01_study.py
On encrypted tables, in a measured image:   confide run --tee simulated 01_study.py
"""

from pyspark.ml import Pipeline
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.ml.feature import StandardScaler, VectorAssembler
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType

MEASURES = ["mean_radius", "mean_texture", "mean_smoothness", "mean_concavity", "worst_area"]


@F.udf(StringType())
def size_class(radius):
    return "small" if radius < 12 else "medium" if radius < 16 else "large"


def main():
    spark = SparkSession.builder.appName("study").getOrCreate()

    # Spark SQL: a join and a group-by over 336,776 flights.
    spark.read.parquet("data/flights").createOrReplaceTempView("flights")
    spark.read.parquet("data/airlines").createOrReplaceTempView("airlines")
    delays = spark.sql("""
        SELECT a.name AS airline, count(*) AS flights, round(avg(f.arr_delay), 2) AS mean_delay
        FROM flights f JOIN airlines a ON f.carrier = a.carrier
        WHERE f.arr_delay IS NOT NULL
        GROUP BY a.name ORDER BY mean_delay DESC""")
    delays.coalesce(1).write.mode("overwrite").parquet("out/delays")

    # DataFrame code with a Python function.
    patients = spark.read.parquet("data/patients")
    groups = (
        patients.withColumn("size", size_class("mean_radius"))
        .groupBy("size")
        .agg(F.count("*").alias("patients"), F.round(F.avg("malignant"), 4).alias("malignant_share"))
        .orderBy("size")
    )
    groups.coalesce(1).write.mode("overwrite").parquet("out/groups")

    # An MLlib pipeline: logistic regression.
    pipeline = Pipeline(
        stages=[
            VectorAssembler(inputCols=MEASURES, outputCol="raw"),
            StandardScaler(inputCol="raw", outputCol="features", withMean=True),
            LogisticRegression(labelCol="malignant", regParam=0.01),
        ]
    )
    train = patients.where("patient_id % 4 != 0")
    test = patients.where("patient_id % 4 = 0")
    scored = pipeline.fit(train).transform(test)
    area = BinaryClassificationEvaluator(labelCol="malignant").evaluate(scored)
    scored.select("patient_id", "malignant", "prediction").orderBy("patient_id").coalesce(1).write.mode(
        "overwrite"
    ).parquet("out/predictions")

    print(f"airlines: {delays.count()}, patients scored: {scored.count()}, area under ROC: {area:.4f}")
    spark.stop()


if __name__ == "__main__":
    main()
