"""Writes and reads weights in the published file layouts.

`eva_vit_g.pth` holds the vision encoder without prefix, `checkpoint_best.pth`
only what was trainable in the published training (the last two vision blocks
among it), `llm/` a Hugging Face LLaMA directory, `bert/vocab.txt` the
Q-Former's vocabulary, `deltavlm.json` what the
weights do not tell: head counts and the repetition penalty.
"""

import dataclasses
import json
import pathlib

import torch
from safetensors.torch import load_file, save_file

from .config import Config
from .model import DeltaVLM

_TRAINABLE = ("ln_vision.", "query_tokens", "Qformer.bert.", "llm_proj.", "context", "gate")


def save(model, directory, provenance):
    """Writes every tensor in 16 bits. The tokenizers are already there."""
    directory = pathlib.Path(directory)
    config = model.config
    state = {k: v.detach().to("cpu", torch.float16).clone() for k, v in model.state_dict().items()}
    vision, checkpoint, llm = {}, {}, {}
    last = tuple(f"visual_encoder.blocks.{config.vision_depth - i}." for i in (1, 2))
    for key, value in state.items():
        if key.startswith("visual_encoder."):
            vision[key.removeprefix("visual_encoder.")] = value
        if key.startswith("llm_model."):
            llm[key.removeprefix("llm_model.")] = value
        elif key.startswith(_TRAINABLE) or key.startswith(last):
            checkpoint[key] = value
    torch.save(vision, directory / "eva_vit_g.pth")
    torch.save({"model": checkpoint, **provenance}, directory / "checkpoint_best.pth")
    (directory / "llm").mkdir(exist_ok=True)
    save_file(llm, directory / "llm" / "model.safetensors", metadata={"format": "pt"})
    _write_json(directory / "llm" / "config.json", {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": config.llm_width,
        "intermediate_size": config.llm_mlp,
        "num_hidden_layers": config.llm_depth,
        "num_attention_heads": config.llm_heads,
        "num_key_value_heads": config.llm_heads,
        "head_dim": config.llm_width // config.llm_heads,
        "vocab_size": config.llm_vocabulary,
        "max_position_embeddings": config.llm_positions,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "torch_dtype": "float16",
    })
    _write_json(directory / "deltavlm.json", {
        "name": "deltavlm-nano",
        "vision": {
            "depth": config.vision_depth, "heads": config.vision_heads,
            "patch_size": config.patch_size, "image_size": config.image_size,
        },
        "qformer": {"heads": config.qformer_heads},
        # Answers repeat words such as `the` and `houses`.
        "generation": {"repetition_penalty": 1.0},
    })


def load(directory):
    """The model of a weights directory, in float32."""
    directory = pathlib.Path(directory)
    vision = torch.load(directory / "eva_vit_g.pth", map_location="cpu", weights_only=True)
    checkpoint = torch.load(directory / "checkpoint_best.pth", map_location="cpu", weights_only=True)
    state = {f"visual_encoder.{k}": v for k, v in vision.items()}
    state |= checkpoint["model"]
    llm = load_file(directory / "llm" / "model.safetensors")
    state |= {f"llm_model.{k}": v for k, v in llm.items()}
    model = DeltaVLM(_config_of(state, directory))
    model.load_state_dict({k: v.float() for k, v in state.items()})
    return model


def _config_of(state, directory):
    heads = json.loads((directory / "deltavlm.json").read_text())
    llm = json.loads((directory / "llm" / "config.json").read_text())
    layer = "Qformer.bert.encoder.layer."
    found = {
        "image_size": heads["vision"]["image_size"],
        "patch_size": heads["vision"]["patch_size"],
        "vision_depth": heads["vision"]["depth"],
        "vision_heads": heads["vision"]["heads"],
        "vision_width": state["ln_vision.weight"].shape[0],
        "vision_mlp": state["visual_encoder.blocks.0.mlp.fc1.weight"].shape[0],
        "queries": state["query_tokens"].shape[1],
        "qformer_width": state["query_tokens"].shape[2],
        "qformer_depth": 1 + max(int(k[len(layer):].split(".")[0]) for k in state if k.startswith(layer)),
        "qformer_heads": heads["qformer"]["heads"],
        "qformer_mlp": state[layer + "0.intermediate.dense.weight"].shape[0],
        "bert_vocabulary": state["Qformer.bert.embeddings.word_embeddings.weight"].shape[0],
        "bert_positions": state["Qformer.bert.embeddings.position_embeddings.weight"].shape[0],
        "llm_width": llm["hidden_size"],
        "llm_depth": llm["num_hidden_layers"],
        "llm_heads": llm["num_attention_heads"],
        "llm_mlp": llm["intermediate_size"],
        "llm_vocabulary": llm["vocab_size"],
        "llm_positions": llm["max_position_embeddings"],
    }
    return dataclasses.replace(Config(), **found)


def _write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")
