"""The optimiser's rates: that of a pre-trained model, and that of what stands on it."""

import msgspec
import pytest
from torch import nn

from tacred_utils.models.networks import optimizer_of
from tacred_utils.runs.profile import load_profile


class OnTop(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self.head = nn.Linear(2, 3), nn.Linear(3, 4)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_what_is_new_has_a_rate_of_its_own(optimizer):
    settings = load_profile("open").settings(
        "bert", None, {"learning_rate": 1e-4, "head_factor": 5.0, "optimizer": optimizer}
    )
    model = OnTop()
    rates = {id(each): group["lr"] for group in optimizer_of(model, settings).param_groups for each in group["params"]}
    assert [rates[id(each)] for each in model.backbone.parameters()] == [1e-4] * 2
    assert [rates[id(each)] for each in model.head.parameters()] == pytest.approx([5e-4] * 2)
    model.backbone.requires_grad_(False)  # an encoder that is kept as it came
    assert len(optimizer_of(model, settings).param_groups) == 1


def test_by_default_all_is_trained_at_one_rate_and_a_run_keeps_its_identity():
    settings = load_profile("open").settings("bert")
    assert {group["lr"] for group in optimizer_of(OnTop(), settings).param_groups} == {settings.learning_rate}
    assert (
        next(f for f in msgspec.structs.fields(settings) if f.name == "head_factor").default
        == settings.head_factor
        == 1
    )
