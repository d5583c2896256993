"""Makes the golden vectors: what independent implementations compute.

    pip install torch numpy pillow sentencepiece safetensors
    pip install transformers==4.33.2 tokenizers==0.13.3 huggingface_hub==0.17.3
    python make_golden.py                        # what the tests read
    python make_golden.py --seed 7 --out DIR     # other weights: DELTAVLM_GOLDEN=DIR cargo test --test golden

Random weights at small dimensions are written in the published layouts
(`model/`), together with small tokenizers. Vision encoder, Q-Former and
language model are Hugging Face's InstructBLIP and LLaMA classes; the difference
module is written out in PyTorch from its equations; decoding is `generate` of
transformers 4.33.2, the release of the published results, called as they call it:
with embeddings alone. That release then puts `bos_token_id` in front of the
sequence: an id that the model never reads, but that repetition penalty, lengths
and beam scores count. Later releases start from an empty sequence.

`vectors.bin` holds f32 arrays, little endian; `golden.json` says where each one
lies and holds token ids and texts.
"""

import argparse
import io
import json
import pathlib
import re
import shutil
from collections import OrderedDict

import numpy as np
import sentencepiece
import torch
import torch.nn.functional as F
import transformers
from PIL import Image
from safetensors.torch import save_file
from transformers import (
    BertTokenizer,
    InstructBlipQFormerConfig,
    InstructBlipQFormerModel,
    InstructBlipVisionConfig,
    InstructBlipVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaTokenizer,
)

assert transformers.__version__.startswith("4.33."), "later releases decode from another start"

ARGUMENTS = argparse.ArgumentParser()
ARGUMENTS.add_argument("--seed", type=int, default=0)
ARGUMENTS.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent)
ARGUMENTS = ARGUMENTS.parse_args()
HERE = ARGUMENTS.out
HERE.mkdir(parents=True, exist_ok=True)
MODEL = HERE / "model"
IMAGE, PATCH, WIDTH, BLOCKS, HEADS, MLP = 56, 14, 64, 3, 4, 96
QUERIES, Q_WIDTH, Q_LAYERS, Q_HEADS, Q_MLP, POSITIONS = 6, 64, 3, 4, 96, 140
L_WIDTH, L_LAYERS, L_HEADS, L_MLP, PIECES = 64, 3, 4, 96, 384
END_GAIN = 2.5
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)

PROMPTS = [
    "Please briefly describe the changes in these two images.",
    "Please judge whether these two images have changed. Please answer yes or no.",
    "Please determine how many roads and buildings have changed?",
    "Please indicate the locations where changes have occurred in the buildings and roads, using a 3x3 grid "
    "(namely, 'top', 'center', and 'bottom' vertically and 'left', 'center', 'right' horizontally).",
]
TEXTS = PROMPTS + [
    "",
    " ",
    "  two  spaces   three ",
    "UPPER lower MiXeD",
    "Caf\u00e9 na\u00efve r\u00e9sum\u00e9, \u00fcber",
    "snowman \u2603 and \u4e2d\u6587 text",
    "tab\tand\nnewline",
    "3x3 grid, 12 buildings; 2.5 roads!",
    "q: Is it new? a: yes  q: Where?",
    "don't stop-gap [top-left, center-right]",
    "word " * 70,
    "\U0001f600 emoji",
]
CORPUS = PROMPTS * 8 + [
    "roads [top-left, center-center] buildings [bottom-right]",
    "there are no changes in roads or buildings",
    "two houses are built along the road in the top left corner",
    "a large building appears on the bare land near the woodland",
    "many villas and a new road have been constructed",
    "almost nothing has changed", "the scene is the same as before", "yes", "no",
    "3 new roads and 12 new buildings", "0 1 2 3 4 5 6 7 8 9",
]


def half(tensor):
    """A value that fp16 holds, as f32: what both sides then compute with."""
    return tensor.to(torch.float16).float()


def randomise(module, seed, gain=1.0):
    generator = torch.Generator().manual_seed(seed + 1000 * ARGUMENTS.seed)
    for name, p in module.named_parameters():
        noise = torch.randn(p.shape, generator=generator)
        if name.lower().endswith("norm.weight") or re.search(r"norm\d?\.weight$", name) or "layernorm.weight" in name.lower():
            p.data = 1 + 0.1 * noise
        elif p.dim() == 1 or name.endswith("bias"):
            p.data = 0.1 * noise
        elif "embed" in name or "token" in name:
            p.data = 0.5 * noise
        else:
            p.data = gain * noise / p[0].numel() ** 0.5
    return module.eval()


def tokenizers():
    (MODEL / "llm").mkdir(parents=True)
    (MODEL / "bert").mkdir()
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=model, model_type="bpe", vocab_size=PIECES,
        byte_fallback=True, split_digits=True, character_coverage=1.0, normalization_rule_name="identity",
        remove_extra_whitespaces=False, add_dummy_prefix=True, allow_whitespace_only_pieces=True,
        unk_id=0, bos_id=1, eos_id=2, pad_id=-1, num_threads=1, minloglevel=2, hard_vocab_limit=True,
    )
    (MODEL / "llm" / "tokenizer.model").write_bytes(model.getvalue())
    words = sorted(set(re.findall(r"[a-z]+", " ".join(CORPUS).lower())))
    letters = list("abcdefghijklmnopqrstuvwxyz0123456789")
    lines = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + c for c in letters),
             *"?,'-[].;:!", *(w for w in words[::2] if len(w) > 1), "##ing", "##ed", "##s"]
    (MODEL / "bert" / "vocab.txt").write_text("\n".join(lines) + "\n")
    bert = BertTokenizer(str(MODEL / "bert" / "vocab.txt"), do_lower_case=True, truncation_side="left")
    bert.add_special_tokens({"bos_token": "[DEC]"})
    llm = LlamaTokenizer(str(MODEL / "llm" / "tokenizer.model"), legacy=True, truncation_side="left")
    llm.add_special_tokens({"pad_token": "[PAD]"})
    llm.add_special_tokens({"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>"})
    return bert, llm


def vision():
    config = InstructBlipVisionConfig(
        hidden_size=WIDTH, intermediate_size=MLP, num_hidden_layers=BLOCKS, num_attention_heads=HEADS,
        image_size=IMAGE, patch_size=PATCH, hidden_act="gelu", layer_norm_eps=1e-6, qkv_bias=True,
    )
    model = randomise(InstructBlipVisionModel(config), 1)
    for i, layer in enumerate(model.encoder.layers):
        layer.self_attn.qkv.bias.data[WIDTH : 2 * WIDTH] = 0
    for p in model.parameters():
        p.data = half(p.data)
    model.post_layernorm.eps = 1e-5
    return model


def vision_keys(model):
    state = model.state_dict()
    out = OrderedDict()
    out["cls_token"] = state["embeddings.class_embedding"]
    out["pos_embed"] = state["embeddings.position_embedding"]
    out["patch_embed.proj.weight"] = state["embeddings.patch_embedding.weight"]
    out["patch_embed.proj.bias"] = state["embeddings.patch_embedding.bias"]
    for i in range(BLOCKS):
        a, b = f"encoder.layers.{i}.", f"blocks.{i}."
        for theirs, ours in (("layer_norm1", "norm1"), ("layer_norm2", "norm2"), ("mlp.fc1", "mlp.fc1"),
                             ("mlp.fc2", "mlp.fc2"), ("self_attn.projection", "attn.proj")):
            for kind in ("weight", "bias"):
                out[f"{b}{ours}.{kind}"] = state[f"{a}{theirs}.{kind}"]
        out[f"{b}attn.qkv.weight"] = state[f"{a}self_attn.qkv.weight"]
        out[f"{b}attn.q_bias"] = state[f"{a}self_attn.qkv.bias"][:WIDTH].clone()
        out[f"{b}attn.v_bias"] = state[f"{a}self_attn.qkv.bias"][2 * WIDTH :].clone()
    return out, {"ln_vision.weight": state["post_layernorm.weight"], "ln_vision.bias": state["post_layernorm.bias"]}


def qformer(vocabulary):
    config = InstructBlipQFormerConfig(
        vocab_size=vocabulary, hidden_size=Q_WIDTH, num_hidden_layers=Q_LAYERS, num_attention_heads=Q_HEADS,
        intermediate_size=Q_MLP, max_position_embeddings=POSITIONS, layer_norm_eps=1e-12, hidden_act="gelu",
        cross_attention_frequency=2, encoder_hidden_size=WIDTH,
    )
    return randomise(InstructBlipQFormerModel(config), 2)


def qformer_keys(model):
    out = {}
    for key, value in model.state_dict().items():
        if key.endswith("position_ids"):
            continue
        key = key.replace("embeddings.layernorm", "embeddings.LayerNorm").replace(".attention.attention.", ".attention.self.")
        key = key.replace(".crossattention.attention.", ".crossattention.self.")
        out["Qformer.bert." + key] = value
    return out


def llama(rows, kv_heads, seed):
    config = LlamaConfig(
        vocab_size=rows, hidden_size=L_WIDTH, intermediate_size=L_MLP, num_hidden_layers=L_LAYERS,
        num_attention_heads=L_HEADS, num_key_value_heads=kv_heads, max_position_embeddings=256, rms_norm_eps=1e-5,
        hidden_act="silu", pad_token_id=None, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False,
    )
    model = randomise(LlamaForCausalLM(config), seed)
    # Confident enough that float noise decides nothing, not so much that one token
    # rules; and an end that comes up now and then.
    model.lm_head.weight.data *= 2.5
    model.lm_head.weight.data[2] *= END_GAIN
    return model, config


def llm_directory(directory, model, dtype, shards):
    directory.mkdir(parents=True, exist_ok=True)
    state = {k: v.to(dtype) for k, v in model.state_dict().items() if "inv_freq" not in k}
    model.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    config = {k: getattr(model.config, k) for k in (
        "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
        "max_position_embeddings", "rms_norm_eps", "hidden_act", "vocab_size", "tie_word_embeddings", "bos_token_id")}
    config["model_type"] = "llama"
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    if shards == 1:
        save_file({k: v.contiguous() for k, v in state.items()}, str(directory / "model.safetensors"))
        return
    keys, weight_map = list(state), {}
    for n in range(shards):
        name = f"pytorch_model-{n + 1:05}-of-{shards:05}.bin"
        part = {k: state[k].clone() for k in keys[n::shards]}
        weight_map |= {k: name for k in part}
        torch.save(part, directory / name)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=1) + "\n")


def csrm(seed):
    generator = torch.Generator().manual_seed(seed + 1000 * ARGUMENTS.seed)
    normal = lambda *shape, scale=1.0: scale * torch.randn(*shape, generator=generator)
    weight = {}
    for name, inputs, bias in (("context1", WIDTH, False), ("context2", WIDTH, True), ("gate1", WIDTH, False),
                               ("gate2", WIDTH, True), ("context3", 3 * WIDTH, True)):
        weight[f"{name}.weight"] = normal(WIDTH, inputs, scale=inputs**-0.5)
        if bias:
            weight[f"{name}.bias"] = normal(WIDTH, scale=0.1)
    return weight


def difference(w, a, b):
    d = b - a
    linear = lambda name, x: F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))
    out = []
    for x in (a, b):
        context = torch.tanh(linear("context1", d) + linear("context2", x))
        gate = torch.sigmoid(linear("gate1", d) + linear("gate2", x))
        out.append(linear("context3", torch.cat((x, d, gate * context), dim=-1)))
    return torch.cat(out, dim=1)


def pictures():
    """Two pictures of another size than the model's, and as tensors the way the
    published pipeline makes them: Pillow's bicubic resize, then CLIP's mean and deviation."""
    rng = np.random.default_rng(5 + 1000 * ARGUMENTS.seed)
    coarse = rng.integers(0, 256, (9, 8, 3), dtype=np.uint8)
    a = np.asarray(Image.fromarray(coarse).resize((72, 80), Image.BILINEAR)).copy()
    a = np.clip(a.astype(int) + rng.integers(-12, 13, a.shape), 0, 255).astype(np.uint8)
    b = a.copy()
    b[20:50, 30:60] = (200, 190, 180)
    b[60:66, :] = (90, 90, 95)
    tensors = []
    for name, pixels in (("before", a), ("after", b)):
        picture = Image.fromarray(pixels)
        picture.save(HERE / f"{name}.png")
        x = np.asarray(picture.resize((IMAGE, IMAGE), Image.BICUBIC)).astype(np.float32) / np.float32(255)
        x = (x - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
        tensors.append(torch.from_numpy(x.transpose(2, 0, 1).copy())[None])
    return tensors


def pre_question(text, max_words=50):
    """The published text processor."""
    text = re.sub(r"([.!\"()*#:;~])", " ", text.lower())
    text = re.sub(r"\s{2,}", " ", text).rstrip("\n").strip(" ")
    return " ".join(text.split(" ")[:max_words])


def decode(net, embeddings, beams):
    """Greedy or beam search as the published code calls it; 24 tokens after the start id."""
    return net.generate(
        inputs_embeds=embeddings, attention_mask=torch.ones(embeddings.shape[:2], dtype=torch.long),
        do_sample=False, num_beams=beams, max_length=25, min_length=1, repetition_penalty=1.5,
        length_penalty=1.0, num_return_sequences=1,
    )[0]


def training_form(question, turns=()):
    """A question, after earlier turns, as training wrote it."""
    text = "".join(f"q: {q} a: {a}  " for q, a in turns) + f"q: {question}"
    return pre_question(text)


class Vectors:
    def __init__(self):
        self.data, self.index = io.BytesIO(), {}

    def add(self, name, tensor):
        array = np.ascontiguousarray(tensor.detach().numpy().astype("<f4"))
        self.index[name] = {"shape": list(array.shape), "offset": self.data.tell()}
        self.data.write(array.tobytes())


@torch.no_grad()
def main():
    shutil.rmtree(MODEL, ignore_errors=True)
    bert, llm = tokenizers()
    vit = vision()
    vit_state, checkpoint = vision_keys(vit)
    q = qformer(len(bert))
    tokens = 0.5 * torch.randn(1, QUERIES, Q_WIDTH, generator=torch.Generator().manual_seed(6 + 1000 * ARGUMENTS.seed))
    weights = csrm(7)
    generator = torch.Generator().manual_seed(8 + 1000 * ARGUMENTS.seed)
    projection = {"llm_proj.weight": torch.randn(L_WIDTH, Q_WIDTH, generator=generator) * 0.06,
                  "llm_proj.bias": torch.randn(L_WIDTH, generator=generator) * 0.05}
    # The pad row that the published code adds is stored, so that both sides know it.
    lm, _ = llama(len(llm), L_HEADS, 9)
    llm_directory(MODEL / "llm", lm, torch.float16, 2)
    grouped, _ = llama(len(llm), L_HEADS // 2, 10)
    llm_directory(MODEL / "llm_grouped", grouped, torch.bfloat16, 1)
    shutil.copy(MODEL / "llm" / "tokenizer.model", MODEL / "llm_grouped" / "tokenizer.model")

    # The last block is in the checkpoint; what the ViT file says of it must lose.
    last = f"blocks.{BLOCKS - 1}."
    trained = {f"visual_encoder.{k}": v.clone() for k, v in vit_state.items() if k.startswith(last)}
    vit_file = OrderedDict((k, torch.zeros_like(v) if k.startswith(last) else v) for k, v in vit_state.items())
    torch.save(OrderedDict((k, v.to(torch.float16)) for k, v in vit_file.items()), MODEL / "eva_vit_g.pth")
    model = OrderedDict(trained | checkpoint | {"query_tokens": torch.nn.Parameter(tokens)} | qformer_keys(q) | weights | projection)
    moments = {i: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(3)} for i in range(3)}
    torch.save({"model": model, "optimizer": {"state": moments, "param_groups": [{"lr": 1e-5, "betas": (0.9, 0.98)}]},
                "config": {"run": {"seed": 42, "amp": True}}, "scaler": None, "epoch": 3}, MODEL / "checkpoint_best.pth")
    config = {"name": "golden", "vision": {"heads": HEADS, "image_size": IMAGE}, "qformer": {"heads": Q_HEADS}}
    (MODEL / "deltavlm.json").write_text(json.dumps(config, indent=2) + "\n")

    v = Vectors()
    before, after = pictures()
    fa = vit(before).last_hidden_state
    fb = vit(after).last_hidden_state
    diff = difference(weights, fa, fb)
    for name, x in (("image.before", before), ("image.after", after), ("features.before", fa), ("features.after", fb), ("difference", diff)):
        v.add(name, x)

    texts = PROMPTS[:3]
    encoded = bert(texts, padding="longest", truncation=True, max_length=128, return_tensors="pt")
    ids, mask = encoded.input_ids, encoded.attention_mask

    def query(ids, mask):
        n = ids.shape[0]
        full = torch.cat((torch.ones(n, QUERIES, dtype=torch.long), mask), 1)
        out = q(input_ids=ids, attention_mask=full, query_embeds=tokens.expand(n, -1, -1),
                encoder_hidden_states=diff.expand(n, -1, -1),
                encoder_attention_mask=torch.ones(n, diff.shape[1], dtype=torch.long)).last_hidden_state[:, :QUERIES]
        return F.linear(out, projection["llm_proj.weight"], projection["llm_proj.bias"])

    queries = query(ids, mask)
    v.add("queries", queries)
    golden = {"qformer": {"ids": ids.tolist(), "mask": mask.tolist()}}

    # One row of embeddings: prefill, then two tokens one by one, then all at once.
    prompt = llm(texts[0], return_tensors="pt").input_ids
    golden["decoder"] = {"prompt": prompt[0].tolist(), "queries_row": 0}
    for name, net in (("decoder", lm), ("decoder_grouped", grouped)):
        embeddings = torch.cat((queries[:1], net.model.embed_tokens(prompt)), 1)
        out = net(inputs_embeds=embeddings, use_cache=True)
        v.add(f"{name}.embeddings", embeddings)
        v.add(f"{name}.logits", out.logits[:, -1])
        v.add(f"{name}.present.0.key", out.past_key_values[0][0])
        v.add(f"{name}.present.0.value", out.past_key_values[0][1])

    # Free decoding as published: embeddings alone, of texts in each of the published forms.
    golden["free"] = []
    open_question = "Are there any changes in roads or lanes?"
    turns = [(PROMPTS[1], "yes"), (PROMPTS[2], "no new roads and 2 new buildings")]
    cases = [("raw", q, [], q) for q in PROMPTS + [open_question]]
    cases += [("training", q, [], training_form(q)) for q in PROMPTS + [open_question]]
    cases += [("caption", PROMPTS[0], [], pre_question(PROMPTS[0]))]
    cases += [("dialogue", open_question, turns[:1], training_form(open_question, turns[:1]))]
    cases += [("dialogue", "Where?", turns[1:], training_form("Where?", turns[1:]))]
    for form, prompt, history, text in cases:
        t = bert([text], padding="longest", truncation=True, max_length=128, return_tensors="pt")
        p = llm([text], return_tensors="pt", padding="longest")
        embeddings = torch.cat((query(t.input_ids, t.attention_mask), lm.model.embed_tokens(p.input_ids)), 1)
        row = {"form": form, "prompt": prompt, "turns": history, "text": text, "qformer_ids": t.input_ids[0].tolist(), "llm_ids": p.input_ids[0].tolist()}
        for name, beams in (("greedy", 1), ("beams5", 5)):
            ids = decode(lm, embeddings, beams)
            row[name] = ids.tolist()
            # Id 0 in the output becomes the end token, which the text leaves out.
            shown = torch.where(ids == 0, torch.full_like(ids, 2), ids)
            row[f"{name}_text"] = llm.decode(shown, skip_special_tokens=True).strip()
        golden["free"].append(row)

    raw = sentencepiece.SentencePieceProcessor(model_file=str(MODEL / "llm" / "tokenizer.model"))
    golden["sentencepiece"] = [{"text": t, "ids": raw.encode(t)} for t in TEXTS]
    golden["llama_tokenizer"] = [{"text": t, "ids": llm(t).input_ids} for t in TEXTS if t.strip()]
    golden["wordpiece"] = [{"text": t, "max": n, "ids": bert(t, truncation=True, max_length=n).input_ids} for t in TEXTS for n in (128, 8)]
    golden["text_processor"] = [{"text": t, "processed": pre_question(t)} for t in TEXTS]

    grid = torch.randn(1, 1 + 5 * 5, 8, generator=generator)
    cells = grid[:, 1:].reshape(1, 5, 5, 8).permute(0, 3, 1, 2)
    for size in (3, 8):
        resized = F.interpolate(cells, size=(size, size), mode="bicubic", align_corners=False)
        v.add(f"positions.{size}", torch.cat((grid[:, :1], resized.permute(0, 2, 3, 1).flatten(1, 2)), 1))
    v.add("positions.5", grid)

    golden["vectors"] = v.index
    (HERE / "vectors.bin").write_bytes(v.data.getvalue())
    (HERE / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
