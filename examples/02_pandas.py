"""An ordinary pandas program: reads a table, groups it, writes a table.

It knows nothing of encryption. Plain:      python 02_pandas.py
On encrypted tables, in a measured image:   confide run --tee simulated --profile python 02_pandas.py
"""

from pathlib import Path

import pandas as pd


def main():
    patients = pd.read_parquet("data/patients")
    size = pd.cut(patients["mean_radius"], [0, 12, 16, 100], labels=["small", "medium", "large"]).astype(str)
    groups = patients.groupby(size.rename("size"))["malignant"].agg(["count", "mean"]).reset_index()

    out = Path("out/groups")
    out.mkdir(parents=True, exist_ok=True)
    groups.to_parquet(out / "part.parquet", index=False)
    print(f"{len(patients)} patients in {len(groups)} groups")


if __name__ == "__main__":
    main()
