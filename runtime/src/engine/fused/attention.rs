//! Attention in one step, with a cache that grows in place where the graph has one.

use std::sync::{Arc, Mutex, PoisonError};

use deltavlm_kernels::{AttentionBias, Heads, KvCache, Queries, Rotary, ThreadPool, attend};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::graph::{Graph, attribute};
use super::{Cache, FusedGraph, FusedOp, floats, row};

/// Inputs: rows with queries, with keys, with values; then the bias, then cosines
/// and sines, as far as there are any.
#[derive(Debug)]
struct Attention {
    heads: usize,
    width: usize,
    /// Where queries, keys and values begin in their rows.
    firsts: [usize; 3],
    scale: f32,
    bias: bool,
    rotary: bool,
    /// Keys and values; those of earlier calls stay only if the decoder holds the cache.
    kept: Arc<Mutex<KvCache>>,
    keeps: bool,
}

impl FusedOp for Attention {
    fn name(&self) -> &'static str {
        "Attention"
    }

    fn run(&self, pool: &ThreadPool, inputs: &[TValue], output: &mut [f32]) -> TractResult<()> {
        let heads = |input: usize| -> TractResult<Heads<'_>> {
            Ok(Heads {
                values: floats(&inputs[input])?,
                offset: self.firsts[input],
                stride: row(&inputs[input]),
            })
        };
        let [(sequences, new), (key_sequences, key_count)] =
            [sizes(&inputs[0])?, sizes(&inputs[1])?];
        let mut rest = inputs[3..].iter();
        let bias = if self.bias { rest.next() } else { None };
        let rotary = match (self.rotary, rest.next(), rest.next()) {
            (true, Some(cos), Some(sin)) => Some(Rotary {
                cos: floats(cos)?,
                sin: floats(sin)?,
            }),
            _ => None,
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.keeps {
            kept.reset(key_sequences, self.heads, self.width);
        }
        kept.append(pool, key_count, heads(1)?, heads(2)?, rotary)?;
        let queries = Queries {
            heads: heads(0)?,
            num_heads: self.heads,
            sequences,
            positions: new,
            scale: self.scale,
            rotary,
        };
        let bias = bias
            .map(|bias| bias_of(bias, sequences, new, kept.len()))
            .transpose()?;
        attend(pool, &queries, &kept, bias, output)?;
        Ok(())
    }

    fn operations(&self, inputs: &[TValue]) -> f64 {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let queries = inputs[0].len() / row(&inputs[0]).max(1);
        4.0 * (queries * self.heads * self.width * kept.len()) as f64
    }
}

/// Sequences and positions of rows.
fn sizes(value: &TValue) -> TractResult<(usize, usize)> {
    match value.shape() {
        [sequences, positions, _] => Ok((*sequences, *positions)),
        other => bail!("attention over a value of shape {other:?}"),
    }
}

/// The bias `[sequences or 1, 1, queries or 1, positions]` as the kernel takes it.
fn bias_of(
    value: &TValue,
    sequences: usize,
    new: usize,
    length: usize,
) -> TractResult<AttentionBias<'_>> {
    match value.shape() {
        [a, 1, b, c] if (*a == 1 || *a == sequences) && (*b == 1 || *b == new) && *c == length => {
            Ok(AttentionBias {
                values: floats(value)?,
                per_sequence: *a == sequences,
                per_query: *b == new,
            })
        }
        other => bail!(
            "an attention bias of shape {other:?} for {sequences} x {new} queries and {length} keys"
        ),
    }
}

/// Where queries, keys or values come from.
struct Part {
    /// The value whose rows hold them.
    source: String,
    first: usize,
    heads: usize,
    width: usize,
    /// Cosines and sines by which they are rotated.
    rotary: Option<[String; 2]>,
}

/// Keys or values behind a cache: the past, the part that is new, both together.
struct Grown {
    past: Option<String>,
    part: Part,
    all: String,
}

/// Replaces attentions, each recognised by its softmax.
pub(super) fn replace(graph: &mut Graph<'_>, replaced: &mut FusedGraph) -> Result<(), String> {
    let mut forgotten = Vec::new();
    // Steps run one after the other, so those that keep nothing share their memory.
    let scratch = Arc::default();
    for index in 0..graph.len() {
        if graph.node(index).op_type != "Softmax" {
            continue;
        }
        let Some((place, step, input, cache)) = recognise(graph, graph.node(index), &scratch)
        else {
            continue;
        };
        let like = graph.node(place).clone();
        if step.keeps {
            replaced.caches.push(Cache {
                kept: step.kept.clone(),
                heads: step.heads,
                width: step.width,
            });
            forgotten.extend(cache);
        }
        let width = step.heads * step.width;
        let node = replaced.node(step, width, &like, input);
        graph.put(place, node);
    }
    for (all, past) in &forgotten {
        graph.forget(all, past);
    }
    if !forgotten.is_empty() {
        graph.name_sums();
    }
    Ok(())
}

type Found = (usize, Attention, Vec<String>, Vec<(String, String)>);

fn recognise(
    graph: &Graph<'_>,
    softmax: &NodeProto,
    scratch: &Arc<Mutex<KvCache>>,
) -> Option<Found> {
    if attribute(softmax, "axis", -1) != -1 {
        return None;
    }
    // Backwards: scores, with or without a bias, of scaled queries and rotated keys.
    let (scores, bias) = match graph.producer(&softmax.input[0], "Add") {
        // A stored bias is one for each head (window attention); the kernel takes one
        // for all heads, which a mask or causality is.
        Some(add) if graph.floats(&add.input[1]).ok()?.is_some() => return None,
        Some(add) => (
            graph.producer(&add.input[0], "MatMul")?,
            Some(add.input[1].clone()),
        ),
        None => (graph.producer(&softmax.input[0], "MatMul")?, None),
    };
    let scaled = graph.producer(&scores.input[0], "Mul")?;
    let scale = graph.floats(&scaled.input[1]).ok()??;
    let keys = graph.producer(&scores.input[1], "Transpose")?;
    // Forwards: the weighed values, and the heads side by side.
    let (_, context) = graph.only_reader(softmax)?;
    let (_, gathered) = graph.only_reader(context)?;
    let (place, joined) = graph.only_reader(gathered)?;
    let fits = context.op_type == "MatMul"
        && context.input[0] == softmax.output[0]
        && gathered.op_type == "Transpose"
        && permutation(gathered) == [0, 2, 1, 3]
        && joined.op_type == "Reshape"
        && graph.integers(&joined.input[1])? == [0, 0, -1]
        && permutation(keys) == [0, 1, 3, 2]
        && scale.len() == 1;
    if !fits {
        return None;
    }
    let q = part(graph, &scaled.input[0])?;
    let k = grown(graph, &keys.input[0])?;
    let v = grown(graph, &context.input[1])?;
    let same = [&k.part, &v.part]
        .iter()
        .all(|p| (p.heads, p.width) == (q.heads, q.width));
    let rotated = k.part.rotary == q.rotary && v.part.rotary.is_none();
    let cache = match (k.past, v.past) {
        (None, None) => Vec::new(),
        (Some(key), Some(value)) => vec![(k.all, key), (v.all, value)],
        _ => return None,
    };
    if !same || !rotated {
        return None;
    }
    let step = Attention {
        heads: q.heads,
        width: q.width,
        firsts: [q.first, k.part.first, v.part.first],
        scale: scale[0],
        bias: bias.is_some(),
        rotary: q.rotary.is_some(),
        kept: if cache.is_empty() {
            scratch.clone()
        } else {
            Arc::default()
        },
        keeps: !cache.is_empty(),
    };
    let mut input = vec![q.source, k.part.source, v.part.source];
    input.extend(bias);
    input.extend(q.rotary.into_iter().flatten());
    Some((place, step, input, cache))
}

/// Keys or values, behind the cache's past if there is one.
fn grown(graph: &Graph<'_>, value: &str) -> Option<Grown> {
    let Some(join) = graph.producer(value, "Concat") else {
        let part = part(graph, value)?;
        return Some(Grown {
            past: None,
            part,
            all: value.to_owned(),
        });
    };
    let [past, new] = join.input.as_slice() else {
        return None;
    };
    let fits = attribute(join, "axis", 0) == 2 && graph.is_input(past) && graph.is_output(value);
    fits.then_some(())?;
    Some(Grown {
        past: Some(past.clone()),
        part: part(graph, new)?,
        all: value.to_owned(),
    })
}

/// Heads `[B,H,N,E]` that are cut out of rows, and rotated or not.
fn part(graph: &Graph<'_>, value: &str) -> Option<Part> {
    let (value, rotary) = match rotated(graph, value) {
        Some((value, rotary)) => (value, Some(rotary)),
        None => (value.to_owned(), None),
    };
    let split = graph.producer(&value, "Transpose")?;
    let apart = graph.producer(&split.input[0], "Reshape")?;
    let [0, 0, heads, width] = graph.integers(&apart.input[1])?[..] else {
        return None;
    };
    if permutation(split) != [0, 2, 1, 3] {
        return None;
    }
    let from = &apart.input[0];
    let (source, first) = match graph.producer(from, "Split") {
        Some(node) if attribute(node, "axis", 0) == -1 => {
            let sizes = graph.integers(node.input.get(1)?)?;
            let place = node.output.iter().position(|output| output == from)?;
            (node.input[0].clone(), sizes.get(..place)?.iter().sum())
        }
        _ => (from.clone(), 0),
    };
    Some(Part {
        source,
        first: usize::try_from(first).ok()?,
        heads: usize::try_from(heads).ok()?,
        width: usize::try_from(width).ok()?,
        rotary,
    })
}

/// `x * cos + [-second half, first half] * sin`: `x`, and cosines and sines.
fn rotated(graph: &Graph<'_>, value: &str) -> Option<(String, [String; 2])> {
    let sum = graph.producer(value, "Add")?;
    let along = graph.producer(&sum.input[0], "Mul")?;
    let across = graph.producer(&sum.input[1], "Mul")?;
    let swapped = graph.producer(&across.input[0], "Concat")?;
    let negative = graph.producer(swapped.input.first()?, "Neg")?;
    let second = graph.producer(&negative.input[0], "Slice")?;
    let first = graph.producer(swapped.input.get(1)?, "Slice")?;
    let x = &along.input[0];
    let bound = |slice: &NodeProto, input: usize| {
        Some(graph.integers(slice.input.get(input)?)?.first().copied())
    };
    let half = bound(first, 2)?;
    let fits = &second.input[0] == x
        && &first.input[0] == x
        && bound(first, 1)? == Some(0)
        && bound(second, 1)? == half
        && bound(second, 2)? == half.map(|half| 2 * half);
    fits.then(|| (x.clone(), [along.input[1].clone(), across.input[1].clone()]))
}

fn permutation(node: &NodeProto) -> &[i64] {
    let found = node
        .attribute
        .iter()
        .find(|attribute| attribute.name == "perm");
    found.map_or(&[], |attribute| &attribute.ints)
}
