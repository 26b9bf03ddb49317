import pytest
import torch
from torch import nn

from mvit_det import build_classifier

SMALL_V1 = {"embed_dim": 32, "depth": 6, "last_block_indexes": (0, 2, 4, 5)}
KINDS = {
    "mean": ("mvitv2_nano", {}),
    "token": ("mvitv2_nano", {"class_token": True}),
    "token and positions": ("mvitv2_nano", {"class_token": True, "use_abs_pos": True}),
    "v1": ("mvitv1_t", SMALL_V1),
}


def attend(attn, q, k, v, map_hw):
    """Run an attention on given queries, keys and values."""
    attn.qkv = attn.proj = nn.Identity()
    return attn(torch.cat([q, k, v], dim=-1), map_hw)


def built(kind, **keywords):
    torch.manual_seed(0)
    variant, own = KINDS[kind]
    model = build_classifier(variant, num_classes=5, **own, **keywords)
    for parameter in model.parameters():
        if parameter.dim() < 4:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("height", "width"), [(32, 32), (70, 133), (224, 224)])
def test_scores_of_images_of_any_size(kind, height, width):
    model = built(kind)
    images = torch.randn(2, 3, height, width)
    scores = model(images)
    assert scores.shape == (2, 5)
    torch.testing.assert_close(model(images[1:]), scores[1:])
    with torch.no_grad():
        torch.testing.assert_close(model(images), scores)


def test_the_names_are_the_published_ones():
    for kind, extra in (("mean", set()), ("v1", {"cls_token", "pos_embed"})):
        names = set(built(kind).state_dict())
        outside = {name for name in names if not name.startswith("blocks.")}
        parts = ("patch_embed.proj", "norm", "head")
        assert outside == extra | {f"{part}.{kind}" for part in parts for kind in ("weight", "bias")}
    model = built("v1")
    assert model.cls_token.shape == (1, 1, 32)
    assert model.pos_embed.shape == (1, 1 + 56 * 56, 32)
    assert model.head.weight.shape == (5, 256)


def test_mvitv1_has_a_class_token_unless_told_otherwise():
    assert built("v1").cls_token is not None
    model = build_classifier("mvitv1_t", class_token=False, **SMALL_V1)
    assert model.cls_token is None
    assert model.pos_embed.shape == (1, 56 * 56, 32)
    assert model(torch.randn(1, 3, 32, 32)).shape == (1, 1000)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("recompute", ["cheap", "block"])
def test_gradients_reach_every_parameter_and_stay_with_recomputation(kind, recompute):
    models = [built(kind, recompute=how, drop_path_rate=0.0).double() for how in ("none", recompute)]
    images = torch.randn(2, 3, 64, 50, dtype=torch.float64)
    for model in models:
        model.train()(images).square().sum().backward()
    for (name, a), b in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(b.grad, a.grad, msg=name, rtol=1e-8, atol=1e-8)
        # In the last block nobody sees what the map's queries found; norm_k.bias moves all scores alike.
        is_unseen = kind != "mean" and name.startswith(("blocks.5.attn.rel_pos", "blocks.5.attn.pool_q"))
        if not name.endswith("norm_k.bias") and not is_unseen:
            assert a.grad.abs().max() > 0, name


@torch.no_grad()
def test_the_token_has_no_relative_positions_and_no_residual_pooling():
    attn = built("token").blocks[1].attn
    q, k, v = torch.randn(3, 2, 1 + 9 * 7, 64)
    attended, map_hw = attend(attn, q, k, v, (9, 7))
    assert map_hw == (5, 4)
    assert attended.shape == (2, 1 + 5 * 4, 64)
    attn.rel_pos_h += torch.randn_like(attn.rel_pos_h)
    changed, _ = attend(attn, q, k, v, (9, 7))
    assert torch.equal(changed[:, 0], attended[:, 0])
    assert ((changed - attended)[:, 1:].abs().amax(-1) > 0).all()

    torch.nn.init.zeros_(attn.norm_v.weight)
    torch.nn.init.zeros_(attn.norm_v.bias)
    attended, _ = attend(attn, q, k, v, (9, 7))
    assert (attended[:, 0] == 0).all()
    pooled = attn.pool(q[:, 1:].unflatten(1, (9, 7)), attn.pool_q, attn.norm_q)
    assert torch.equal(attended[:, 1:], pooled.reshape(2, 20, 64))


@torch.no_grad()
def test_the_token_is_a_key_and_a_value():
    attn = built("token").blocks[1].attn
    q, k, v = torch.zeros(3, 1, 1 + 4 * 4, 64)
    v[:, 0, :32], v[:, 0, 32:] = 1, torch.arange(32)
    for norm in (attn.norm_q, attn.norm_v):  # queries without direction: every key weighs the same
        torch.nn.init.zeros_(norm.bias)
    torch.nn.init.ones_(attn.norm_v.weight)
    attended, _ = attend(attn, q, k, v, (4, 4))
    ramp = (torch.arange(32) - 15.5) / torch.arange(32.0).std(correction=0)
    expected = torch.cat([torch.zeros(32), ramp / 5])  # one of the token and 2 x 2 of the map
    torch.testing.assert_close(attended, expected.expand(1, 5, 64), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["mean", "token"])
def test_autocast_and_dropout(kind):
    model, images = built(kind, dropout=0.5), torch.randn(1, 3, 64, 64)
    exact = model(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert (model(images) - exact).norm() / exact.norm() < 0.05
    model.train()
    assert not torch.equal(model(images), model(images))


@pytest.mark.parametrize("kind", ["mean", "token and positions"])
def test_compiles_without_a_graph_break(kind):
    model = built(kind, depth=4, last_block_indexes=(0, 1, 2, 3))
    torch.compiler.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    images = torch.randn(1, 3, 64, 90)
    torch.testing.assert_close(compiled(images), model(images))


def test_invalid_arguments_are_refused():
    with pytest.raises(ValueError, match="'mvitv2-t': did you mean 'mvitv2_t'"):
        build_classifier("mvitv2-t")
    with pytest.raises(ValueError, match="31 x 64 px: both sides must be at least 32"):
        built("token")(torch.zeros(1, 3, 31, 64))
