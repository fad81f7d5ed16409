"""An ordinary program of the pandas API on Spark."""

import pyspark.pandas as ps

table = ps.read_parquet("data/points")
print(table.shape, sorted(table.columns))
print(table.dtypes.sort_index())
print(table[["f0", "amount"]].describe().round(6))
print(table.groupby("kind").agg({"amount": ["mean", "max"], "id": "count"}).sort_index().round(6))
print(
    table.pivot_table(index=["kind"], columns="label", values="amount", aggfunc="mean").sort_index().round(6)
)
print(table["kind"].value_counts().sort_index())
print(table.sort_values("id")["amount"].rolling(7).mean().sort_index().tail(3).round(6))
print(table.assign(month=table["day"].dt.month).groupby("month")["id"].count().sort_index())
names = ps.DataFrame({"kind": ["a", "b"], "name": ["first", "second"]})
print(table.merge(names, on="kind").groupby("name")["id"].sum().sort_index())


def double(amount) -> float:
    return amount * 2


print(round(table["amount"].apply(lambda amount: amount * 2).sum(), 3))
print(round(table["amount"].transform(double).sum(), 3))
print(ps.sql("SELECT kind, count(*) AS n FROM {table} GROUP BY kind ORDER BY kind", table=table).to_pandas())
print(table[["f0", "f1", "amount"]].corr().round(6))
table.groupby("kind")[["amount"]].sum().round(3).reset_index().to_parquet("out/sums", mode="overwrite")
print(ps.read_parquet("out/sums").sort_values("kind").to_pandas())
print(table.head(3).to_pandas()[["id", "kind"]])
