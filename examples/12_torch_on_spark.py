# /// script
# [tool.confide]
# args = ["--ranks=[1-8]"]
# ///
"""PyTorch on Spark by PySpark's own `TorchDistributor`: Spark prepares records, ranks train on them, Spark scores.

They train in rounds. The driver writes what came of each into a table, and a later run goes on from there.
The first table has `patient_id`, thirty measurements, and `malignant`. It knows nothing of encryption.
Plain:                                                      python 12_torch_on_spark.py
On an encrypted table, each rank in an executor's enclave:  confide run --tee simulated --workers 2 12_torch_on_spark.py
"""

import io
import sys

import torch
import torch.distributed as dist
from pyspark.errors import AnalysisException
from pyspark.ml.torch.distributor import TorchDistributor
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from torch import nn

ROUNDS, STEPS = 4, 25


def network(measurements):
    return nn.Sequential(nn.Linear(measurements, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))


def train(x, y, ranks, before):
    torch.set_num_threads(1)
    dist.init_process_group()
    own = slice(
        dist.get_rank(), len(x) // ranks * ranks, ranks
    )  # parts of one size: the mean of means is the mean
    x, y = torch.tensor(x[own], dtype=torch.float32), torch.tensor(y[own], dtype=torch.float32)
    torch.manual_seed(7)
    model = network(x.shape[1])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    if before is not None:
        state = torch.load(io.BytesIO(before), weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    parallel = nn.parallel.DistributedDataParallel(model)
    for _ in range(STEPS):
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(parallel(x), y).backward()
        optimizer.step()
    dist.destroy_process_group()
    saved = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, saved)
    return saved.getvalue()


def newest(spark):
    """Return how many rounds earlier runs have done, and what they came to."""
    try:
        return spark.read.parquet("out/checkpoint").first()
    except AnalysisException:  # there is none
        return 0, None


def main():
    ranks = int(sys.argv[1].removeprefix("--ranks=")) if sys.argv[1:] else 2
    spark = SparkSession.builder.getOrCreate()
    patients = spark.read.parquet("data/patients")
    names = [name for name in patients.columns if name not in ("patient_id", "malignant")]
    held_back = F.col("patient_id") % 4 == 0
    known = patients.where(~held_back).orderBy("patient_id").toPandas()
    mean, deviation = known[names].mean(), known[names].std()
    x, y = ((known[names] - mean) / deviation).to_numpy(), known["malignant"].to_numpy()
    distributor = TorchDistributor(num_processes=ranks, local_mode=False, use_gpu=False)
    first, state = newest(spark)
    print(f"from round {first}", flush=True)
    for done in range(first, ROUNDS):
        state = distributor.run(train, x, y, ranks, state)
        made = spark.createDataFrame([(done + 1, state)], "rounds int, state binary")
        made.write.mode("overwrite").parquet("out/checkpoint")

    def score(batches):
        model = network(len(names))
        model.load_state_dict(torch.load(io.BytesIO(state), weights_only=True)["model"])
        for batch in batches:
            measured = torch.tensor(((batch[names] - mean) / deviation).to_numpy(), dtype=torch.float32)
            with torch.no_grad():
                yield batch[["patient_id", "malignant"]].assign(logit=model(measured).numpy())

    scored = patients.where(held_back).mapInPandas(score, "patient_id long, malignant double, logit float")
    scored.write.mode("overwrite").parquet("out/scores")
    right = (F.col("logit") > 0) == (F.col("malignant") > 0)
    accuracy = spark.read.parquet("out/scores").agg(F.avg(right.cast("double"))).first()[0]
    print(f"accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
