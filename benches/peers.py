"""The peers on the same work: ONNX Runtime, PyTorch and llama.cpp.

`cargo bench -p deltavlm-benches --bench full_shapes` calls this; by hand:

    python benches/peers.py --bundles DIR --threads 2

DIR holds the bundles `f32`, `int8` and `int4` (benches/README.md says how they are
made). Every result is one JSON line: the work, the peer, milliseconds (the median).
A peer that is not installed, or a bundle that is not there, is a line with `skipped`.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PROMPT_TOKENS = 40
PASTS = (64, 256)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--bundles", type=Path, required=True)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--peer", choices=["onnxruntime", "pytorch", "llama.cpp"], action="append")
    chosen = arguments.parse_args()
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(chosen.threads)
    peers = {"onnxruntime": onnx_runtime, "pytorch": pytorch, "llama.cpp": llama_cpp}
    for name in chosen.peer or peers:
        try:
            peers[name](chosen)
        except (ImportError, FileNotFoundError) as error:
            print(json.dumps({"peer": name, "skipped": str(error)}), flush=True)


def report(work, peer, seconds):
    print(json.dumps({"work": work, "peer": peer, "ms": round(seconds * 1e3, 3)}), flush=True)


def median(runs, work):
    """One run to warm up, then the median of the others."""
    work()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2]


def manifest(bundle):
    return json.loads((bundle / "bundle.json").read_text())


def values(*shape):
    return np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)


def prompt_of(model):
    return model["qformer"]["queries"] + PROMPT_TOKENS


# ---------------------------------------------------------------- ONNX Runtime


def onnx_runtime(chosen):
    """The very graphs of the bundles, with the library's default settings (its
    threads spin, which `dvlm` does not allow), and 8-bit products as its own
    quantiser makes them of the f32 encoder."""
    import onnxruntime

    for precision in ("f32", "int8", "int4"):
        bundle = chosen.bundles / precision
        if not (bundle / "bundle.json").exists():
            print(json.dumps({"peer": f"onnxruntime {precision}", "skipped": f"no {bundle}"}), flush=True)
            continue
        model = manifest(bundle)["model"]
        peer = f"onnxruntime {precision}"
        for segment, inputs in stateless_inputs(model).items():
            session = ort_session(onnxruntime, bundle / f"{segment}.onnx", chosen.threads)
            report(segment, peer, median(chosen.runs, lambda: session.run(None, inputs)))
            if segment == "vision" and precision == "f32":
                dynamic = dynamic_int8(bundle / "vision.onnx")
                session = ort_session(onnxruntime, dynamic, chosen.threads)
                seconds = median(chosen.runs, lambda: session.run(None, inputs))
                report(segment, "onnxruntime dynamic int8, one scale a tensor", seconds)
        session = ort_session(onnxruntime, bundle / "decoder.onnx", chosen.threads)
        inputs = decoder_inputs(model, 0, prompt_of(model))
        report("prefill", peer, median(chosen.runs, lambda: session.run(None, inputs)))
        for past in PASTS:
            inputs = decoder_inputs(model, past, 1)
            report(f"decode {past}", peer, median(4 * chosen.runs, lambda: session.run(None, inputs)))


def ort_session(onnxruntime, graph, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def dynamic_int8(graph):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    target = Path(tempfile.mkdtemp()) / "vision.onnx"
    quantize_dynamic(graph, target, weight_type=QuantType.QInt8, per_channel=False)
    return target


def stateless_inputs(model):
    vision = model["vision"]
    tokens, width, size = vision["tokens"], vision["width"], vision["image_size"]
    return {
        "vision": {"image": values(1, 3, size, size)},
        "difference": {"before": values(1, tokens, width), "after": values(1, tokens, width)},
        "qformer": {
            "difference": values(1, 2 * tokens, width),
            "token_ids": np.ones((1, 16), np.int64),
            "token_mask": np.ones((1, 16), np.int64),
        },
    }


def decoder_inputs(model, past, new):
    llm = model["llm"]
    bias = np.triu(np.full((new, past + new), -1e9, np.float32), past + 1)
    inputs = {
        "embeddings": values(1, new, llm["width"]),
        "positions": np.arange(past, past + new, dtype=np.int64)[None],
        "attention_bias": bias[None, None],
    }
    for layer in range(llm["layers"]):
        for which in ("key", "value"):
            inputs[f"past.{layer}.{which}"] = values(1, llm["kv_heads"], past, llm["head_dim"])
    return inputs


# --------------------------------------------------------------------- PyTorch


def pytorch(chosen):
    """The same layers in single precision, with the library's own attention."""
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(chosen.threads)
    model = manifest(next(chosen.bundles / p for p in ("int4", "int8", "f32") if (chosen.bundles / p).exists()))["model"]
    vision, qformer, llm = model["vision"], model["qformer"], model["llm"]

    def linear(outputs, inputs):
        weight = torch.empty(outputs, inputs).uniform_(-0.02, 0.02)
        return lambda x: F.linear(x, weight)

    def heads(x, count):
        return x.view(*x.shape[:2], count, -1).transpose(1, 2)

    def attention(q, k, v, count, mask=None):
        out = F.scaled_dot_product_attention(heads(q, count), heads(k, count), heads(v, count), mask)
        return out.transpose(1, 2).flatten(2)

    def norm(x):
        return F.layer_norm(x, x.shape[-1:])

    def measure(work, run, runs=chosen.runs):
        with torch.inference_mode():
            report(work, "pytorch f32", median(runs, run))

    width, mlp = vision["width"], vision["mlp_width"]
    blocks = [
        (linear(3 * width, width), linear(width, width), linear(mlp, width), linear(width, mlp))
        for _ in range(vision["depth"])
    ]

    def encode():
        x = torch.ones(1, vision["tokens"], width)
        for qkv, proj, up, down in blocks:
            x = x + proj(attention(*qkv(norm(x)).chunk(3, -1), vision["heads"]))
            x = x + down(F.gelu(up(norm(x))))
        return norm(x)

    measure("vision", encode)

    first, second, third = linear(2 * width, width), linear(2 * width, width), linear(width, 3 * width)

    def difference():
        before, after = torch.zeros(1, vision["tokens"], width), torch.ones(1, vision["tokens"], width)
        d, dates = after - before, torch.cat([before, after], 1)
        context, gate = (first(d).repeat(1, 2, 1) + second(dates)).chunk(2, -1)
        return third(torch.cat([dates, d.repeat(1, 2, 1), torch.sigmoid(gate) * torch.tanh(context)], -1))

    measure("difference", difference)

    w = qformer["width"]
    layers = []
    for i in range(qformer["layers"]):
        crossed = (linear(w, w), linear(2 * w, width), linear(w, w)) if i % 2 == 0 else None
        layers.append((linear(3 * w, w), linear(w, w), crossed, *(linear(*s) for s in [(4 * w, w), (w, 4 * w)] * 2)))
    project = linear(llm["width"], w)

    def query():
        pair, x, queries = torch.ones(1, 2 * vision["tokens"], width), torch.ones(1, qformer["queries"] + 16, w), qformer["queries"]
        for qkv, out, crossed, up, down, up_text, down_text in layers:
            x = norm(x + out(attention(*qkv(x).chunk(3, -1), qformer["heads"])))
            q, text = x[:, :queries], x[:, queries:]
            if crossed:
                to_q, to_kv, out = crossed
                q = norm(q + out(attention(to_q(q), *to_kv(pair).chunk(2, -1), qformer["heads"])))
            q = norm(q + down(F.gelu(up(q))))
            text = norm(text + down_text(F.gelu(up_text(text))))
            x = torch.cat([q, text], 1)
        return project(x[:, :queries])

    measure("qformer", query)

    width, mlp, kv = llm["width"], llm["mlp_width"], llm["kv_heads"] * llm["head_dim"]
    layers = [
        (linear(width + 2 * kv, width), linear(width, width), linear(2 * mlp, width), linear(width, mlp))
        for _ in range(llm["layers"])
    ]
    head = linear(llm["vocab_size"], width)

    def decoder(past, new):
        cache = [torch.ones(2, 1, past, kv) for _ in layers]
        mask = torch.triu(torch.full((new, past + new), -1e9), past + 1)

        def run():
            x = torch.ones(1, new, width)
            for (qkv, out, gate_up, down), (keys, values) in zip(layers, cache):
                q, k, v = qkv(F.rms_norm(x, x.shape[-1:])).split([width, kv, kv], -1)
                k, v = torch.cat([keys, k], 1), torch.cat([values, v], 1)
                x = x + out(attention(q, k, v, llm["heads"], mask))
                gate, up = gate_up(F.rms_norm(x, x.shape[-1:])).chunk(2, -1)
                x = x + down(F.silu(gate) * up)
            return head(x[:, -1])

        return run

    measure("prefill", decoder(0, prompt_of(model)))
    for past in PASTS:
        measure(f"decode {past}", decoder(past, 1))


# ------------------------------------------------------------------- llama.cpp


def llama_cpp(chosen):
    """A GGUF file of the same widths and layers with random weights. The output
    matrix has 8 bits in both files, as in our bundles. There is no encoder of
    this kind in llama.cpp, so only the language model is compared."""
    import gguf
    import llama_cpp as cpp

    bundle = next(chosen.bundles / p for p in ("int4", "int8", "f32") if (chosen.bundles / p).exists())
    llm = manifest(bundle)["model"]["llm"]
    prompt = prompt_of(manifest(bundle)["model"])
    cpp.llama_backend_init()
    silent = cpp.llama_log_callback(lambda *_: None)
    cpp.llama_log_set(silent, None)
    with tempfile.TemporaryDirectory() as folder:
        for name, kind in (("Q4_0", gguf.GGMLQuantizationType.Q4_0), ("Q8_0", gguf.GGMLQuantizationType.Q8_0)):
            path = Path(folder) / f"{name}.gguf"
            write_gguf(gguf, path, llm, kind)
            options = cpp.llama_model_default_params()
            model = cpp.llama_model_load_from_file(str(path).encode(), options)
            settings = cpp.llama_context_default_params()
            settings.n_ctx = 512
            settings.n_threads = settings.n_threads_batch = chosen.threads
            context = cpp.llama_init_from_model(model, settings)
            memory = cpp.llama_get_memory(context)

            def step(past, new):
                cpp.llama_memory_seq_rm(memory, 0, past, -1)
                batch = cpp.llama_batch_init(new, 0, 1)
                batch.n_tokens = new
                for i in range(new):
                    batch.token[i], batch.pos[i], batch.n_seq_id[i] = i + 3, past + i, 1
                    batch.seq_id[i][0], batch.logits[i] = 0, i + 1 == new
                if cpp.llama_decode(context, batch) != 0:
                    raise RuntimeError("llama_decode failed")
                cpp.llama_synchronize(context)
                cpp.llama_batch_free(batch)

            peer = f"llama.cpp {name}"
            report("prefill", peer, median(chosen.runs, lambda: step(0, prompt)))
            for past in PASTS:
                step(0, past)
                report(f"decode {past}", peer, median(4 * chosen.runs, lambda: step(past, 1)))
            cpp.llama_free(context)
            cpp.llama_model_free(model)
            path.unlink()


def write_gguf(gguf, path, llm, kind):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(llm["layers"])
    writer.add_context_length(llm["max_positions"])
    writer.add_embedding_length(llm["width"])
    writer.add_feed_forward_length(llm["mlp_width"])
    writer.add_head_count(llm["heads"])
    writer.add_head_count_kv(llm["kv_heads"])
    writer.add_rope_dimension_count(llm["head_dim"])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(llm["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    random = np.random.default_rng(1)

    def matrix(name, rows, columns, kind):
        block, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = random.integers(0, 256, (rows, columns // block, size), np.uint8)
        # Both kinds begin a block with its scale in half precision.
        blocks[:, :, :2] = np.frombuffer(np.float16(0.002).tobytes(), np.uint8)
        writer.add_tensor(f"{name}.weight", blocks.reshape(rows, -1), raw_dtype=kind)

    def norm(name):
        writer.add_tensor(f"{name}.weight", np.ones(llm["width"], np.float32))

    width, mlp, kv = llm["width"], llm["mlp_width"], llm["kv_heads"] * llm["head_dim"]
    matrix("token_embd", llm["vocab_size"], width, kind)
    norm("output_norm")
    matrix("output", llm["vocab_size"], width, gguf.GGMLQuantizationType.Q8_0)
    for i in range(llm["layers"]):
        norm(f"blk.{i}.attn_norm")
        norm(f"blk.{i}.ffn_norm")
        for name, rows, columns in (
            ("attn_q", width, width),
            ("attn_k", kv, width),
            ("attn_v", kv, width),
            ("attn_output", width, width),
            ("ffn_gate", mlp, width),
            ("ffn_up", mlp, width),
            ("ffn_down", width, mlp),
        ):
            matrix(f"blk.{i}.{name}", rows, columns, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    sys.exit(main())
