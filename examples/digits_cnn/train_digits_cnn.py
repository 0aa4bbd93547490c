"""Train the digits CNN of this folder, prune it to 90 % zeros, and export both to ONNX.

In: scikit-learn's digits (1,797 images of 8x8). Out: digits_cnn_dense.onnx,
digits_cnn_pruned90.onnx (symbolic batch) and digits_test.npz (the 450 images held out).

    pip install 'dstc[train]'      # torch's CPU wheels are enough
    python examples/digits_cnn/train_digits_cnn.py --out out/digits_cnn

Half a minute on two cores: 98.4 % of the test images dense and 98.4 % pruned, on torch 2.13.0's
CPU wheel. The models beside this file have the same network, test images and share of zeros, from
another run; they reach 99.6 % and 99.8 %.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional


class DigitsCnn(nn.Module):
    """Three convolutions (32, 64, 128 channels) and two linear layers (256, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.conv3 = nn.Conv2d(64, 128, 3, padding=1)
        self.fc1 = nn.Linear(128 * 2 * 2, 256)
        self.fc2 = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Images (batch, 1, 8, 8) in 0..1 -> logits (batch, 10)."""
        x = functional.relu(self.conv1(x))
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv3(x)), 2)
        return self.fc2(functional.relu(self.fc1(x.flatten(1))))


def load() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images and labels, test images and labels; a quarter is held out, by class."""
    x, y = load_digits(return_X_y=True)
    images = (x / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    parts = train_test_split(images, y, test_size=0.25, random_state=0, stratify=y)
    x_train, x_test, y_train, y_test = (torch.from_numpy(p) for p in parts)
    return x_train, y_train, x_test, y_test


def train(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    epochs: int,
    rate: float,
    after_step: Callable[[], None] = lambda: None,
) -> None:
    """Adam with a cosine schedule on shuffled batches of 64; `after_step` runs after each step."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
            after_step()
        schedule.step()
    model.eval()


def magnitude_masks(model: nn.Module, sparsity: float) -> dict[nn.Parameter, Tensor]:
    """For each weight, where it is kept: one threshold on |w| over all layers (global L1)."""
    weights = [p for name, p in model.named_parameters() if name.endswith("weight")]
    magnitudes = torch.cat([w.detach().abs().flatten() for w in weights])
    threshold = magnitudes.kthvalue(round(sparsity * len(magnitudes))).values
    return {w: w.detach().abs() > threshold for w in weights}


def prune(model: nn.Module, x: Tensor, y: Tensor, sparsity: float, epochs: int) -> None:
    """Prune in three steps up to `sparsity`, training on with the zeros held after each."""
    for part in (0.6, 0.85, 1.0):
        masks = magnitude_masks(model, sparsity * part)

        def hold(masks: dict[nn.Parameter, Tensor] = masks) -> None:
            with torch.no_grad():
                for weight, mask in masks.items():
                    weight.mul_(mask)

        hold()
        train(model, x, y, epochs, 1e-3, hold)


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """The share of images that get their label."""
    with torch.no_grad():
        return float((model(x).argmax(1) == y).float().mean())


def export(model: nn.Module, path: Path) -> None:
    """Write ONNX with a symbolic batch and the weights inside the file."""
    torch.onnx.export(
        model,
        (torch.zeros(2, 1, 8, 8),),
        path,
        input_names=["x"],
        dynamo=True,
        external_data=False,
        verbose=False,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    onnx.checker.check_model(path, full_check=True)


def main() -> None:
    """Train, prune, export."""
    parser = argparse.ArgumentParser(description="train, prune and export the digits CNN")
    parser.add_argument("--out", type=Path, default=Path("out/digits_cnn"), metavar="DIR")
    parser.add_argument("--epochs", type=int, default=30, metavar="N")
    parser.add_argument("--sparsity", type=float, default=0.9, metavar="S")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # torchvision is not needed
    warnings.simplefilter("ignore", FutureWarning)
    torch.manual_seed(0)
    x, y, x_test, y_test = load()
    np.savez_compressed(args.out / "digits_test.npz", x=x_test.numpy(), y=y_test.numpy())
    model = DigitsCnn()
    train(model, x, y, args.epochs, 2e-3)
    print(f"dense: {accuracy(model, x_test, y_test):.1%} of the test images")
    export(model, args.out / "digits_cnn_dense.onnx")
    prune(model, x, y, args.sparsity, max(1, args.epochs // 2))
    zeros = 1 - sum(
        int(p.count_nonzero()) for n, p in model.named_parameters() if "weight" in n
    ) / (sum(p.numel() for n, p in model.named_parameters() if "weight" in n))
    print(f"{zeros:.1%} zeros: {accuracy(model, x_test, y_test):.1%} of the test images")
    export(model, args.out / f"digits_cnn_pruned{round(100 * args.sparsity)}.onnx")


if __name__ == "__main__":
    main()
