"""An ordinary PyTorch program: logistic regression by gradient descent, writes predictions and weights.

It knows nothing of encryption. Plain:      python 04_torch.py
On encrypted tables, in a measured image:   confide run --tee simulated --profile python 04_torch.py
"""

from pathlib import Path

import pandas as pd
import torch


def main():
    torch.manual_seed(7)
    patients = pd.read_parquet("data/patients")
    x = torch.tensor(patients.drop(columns=["patient_id", "malignant"]).to_numpy(), dtype=torch.float32)
    y = torch.tensor(patients["malignant"].to_numpy(), dtype=torch.float32)
    x = (x - x.mean(0)) / x.std(0)
    test = torch.tensor((patients["patient_id"] % 4 == 0).to_numpy())

    model = torch.nn.Linear(x.shape[1], 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model(x[~test]).squeeze(1), y[~test])
        loss.backward()
        optimizer.step()

    with torch.no_grad():
        malignant = (model(x[test]).squeeze(1) > 0).int()
    scored = patients.loc[test.numpy(), ["patient_id"]].assign(predicted=malignant.numpy())
    for folder in ("out/scores", "out/model"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    scored.to_parquet("out/scores/part.parquet", index=False)
    torch.save(model.state_dict(), "out/model/weights.pt")
    print(f"loss {loss.item():.4f}, accuracy {(malignant == y[test].int()).float().mean().item():.3f}")


if __name__ == "__main__":
    main()
