"""The paths of the small ResNet and DenseNet: the quick form, and the data that is kept."""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def paths(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    yield import_module("paths")
    for name in ("paths", "small_networks"):
        sys.modules.pop(name)


def test_the_quick_form_makes_the_same_data(paths: Any, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        paths.main(["--quick", "--out", str(tmp_path / "out.json")])
    quick = json.loads((tmp_path / "out.json").read_text())
    kept = json.loads((ROOT / "docs" / "paths.json").read_text())
    assert quick.keys() == kept.keys() and quick["size"].keys() == kept["size"].keys()
    for network in ("resnet", "densenet"):
        assert quick[network].keys() == kept[network].keys()
        assert quick[network]["runs"][0].keys() == kept[network]["runs"][0].keys()
        assert len(quick[network]["least_inner"]) == 3
        branch = quick[network]["branches"][0]
        assert branch["distance"][0] == 0 < branch["distance"][1]


def test_what_the_page_says_of_the_data_that_is_kept() -> None:
    kept = json.loads((ROOT / "docs" / "paths.json").read_text())
    page = (ROOT / "docs" / "path.md").read_text()
    for network, sure in (("resnet", 76), ("densenet", 84)):
        found = kept[network]
        assert min(found["least_inner"]) > 0
        pairs = [
            (run["inner"][e], run["inner_error"][e]) for run in found["runs"] for e in range(30)
        ]
        assert sum(value >= 2 * error for value, error in pairs) == sure and f"| {sure} " in page
        assert f"{found['parameters']:,} parameters".replace(",", " ") in page
        inner = [run["inner"][:-1] for run in found["runs"]]
        assert found["least_inner"] == pytest.approx([min(values) for values in zip(*inner)])
        cosines = [min(run["cosine"][e] for run in found["runs"]) for e in (0, 5, 14, 20)]
        assert ", ".join(f"{value:.2f}" for value in cosines) in page
        losses = ", ".join(f"{branch['loss'][-1]:.2g}" for branch in found["branches"])
        assert losses in page


def test_the_networks_are_of_any_size_of_image(paths: Any) -> None:
    with torch.random.fork_rng():
        for kind in paths.NETWORKS.values():
            assert kind(channels=3)(torch.randn(2, 3, 32, 32)).shape == (2, 10)
            assert kind(channels=1, classes=4)(torch.randn(2, 1, 8, 8)).shape == (2, 4)
