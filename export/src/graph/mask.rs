//! The optional mask branch: where something changed, pixel by pixel.
//!
//! The published description names its input and output only, so the stored
//! layers say what it is, by a rule of ours that `docs/bundle-format.md` states;
//! anything else is refused by name.

use std::collections::BTreeMap;

use deltavlm_bundle::{Precision, Target};

use super::{Dim, GraphBuilder, SegmentGraph};
use crate::matrix::Matrix;
use crate::network::Network;
use crate::source::Tensor;
use crate::{Error, Result};

const PREFIX: &str = "mask_decoder.";
const NORM_EPSILON: f64 = 1e-5;

/// A layer as its tensors tell it.
enum Layer<'a> {
    /// Odd kernel, stride 1, the grid keeps its size.
    Convolution(&'a Tensor),
    /// Kernel 2 or 4, stride 2, the grid doubles.
    Transposed(&'a Tensor),
    /// Batch normalisation with stored statistics.
    Norm(&'a Tensor),
}

/// Whether the checkpoint has a mask branch.
pub fn has_mask(network: &Network) -> bool {
    network.layers().keys_of(PREFIX).next().is_some()
}

/// `difference` `[1,2T,Dv]` to `change` `[1,1,M,M]`.
///
/// # Errors
/// When the stored layers are of a form that is not known, or do not fit.
pub fn mask(network: &Network, precision: Precision, target: Target) -> Result<SegmentGraph> {
    let vision = &network.model.vision;
    let (width, tokens) = (vision.width, vision.tokens);
    let side = vision.image_size / vision.patch_size;
    let layers = layers(network)?;
    let mut b = GraphBuilder::new("mask", precision, target);
    let shape = [Dim::Fixed(1), Dim::Fixed(2 * tokens), Dim::Fixed(width)];
    let difference = b.input("difference", &shape);

    // Without the class tokens.
    let end = tokens as i64;
    let before = b.slice("mask.before", &difference, 1, 1, end);
    let after = b.slice("mask.after", &difference, 1, end + 1, 2 * end);
    let first = channels_in(&layers[0].1, width)?;
    let start = if first == 2 * width {
        b.concat("mask.both", &[&before, &after], 2)
    } else {
        b.op("Sub", "mask.subtract", &[&after, &before], vec![])
    };
    let turned = b.transpose("mask.channels", &start, &[0, 2, 1]);
    let grid = [1, first as i64, side as i64, side as i64];
    let mut x = b.reshape("mask.grid", &turned, &grid);

    let (mut channels, mut side) = (first, side);
    for (i, (number, layer)) in layers.iter().enumerate() {
        let name = format!("mask.{number}");
        let key = format!("{PREFIX}{number}");
        match layer {
            Layer::Convolution(weight) | Layer::Transposed(weight) => {
                // Stored as `[out, in, ...]` and `[in, out, ...]`; a stride of 2 doubles the grid.
                let (op, input, stride) = match layer {
                    Layer::Transposed(_) => ("ConvTranspose", 0, 2),
                    _ => ("Conv", 1, 1),
                };
                let padding = (kernel(weight)? - stride) / 2;
                channels = fits(weight, input, channels)?;
                let bias = bias(network, &key, channels)?;
                x = b.convolution(
                    op,
                    &name,
                    &x,
                    whole(weight)?,
                    weight.shape(),
                    bias,
                    (stride, padding),
                );
                side *= stride;
            }
            Layer::Norm(_) => x = norm(network, &mut b, &name, &key, &x, channels)?,
        }
        let followed = layers.get(i + 1);
        if followed.is_some_and(|(_, next)| !matches!(next, Layer::Norm(_))) {
            x = b.op(
                network.mask.activation.operator(),
                &format!("{name}.activation"),
                &[&x],
                vec![],
            );
        }
    }
    if channels == 2 {
        // A softmax over two is a sigmoid of their difference.
        let changed = b.slice("mask.changed", &x, 1, 1, 2);
        let unchanged = b.slice("mask.unchanged", &x, 1, 0, 1);
        x = b.op("Sub", "mask.two", &[&changed, &unchanged], vec![]);
    } else if channels != 1 {
        let (number, _) = &layers[layers.len() - 1];
        return Err(network
            .layers()
            .get(&format!("{PREFIX}{number}.weight"))?
            .fault(format!(
                "gives {channels} channels where a mask has 1 (changed) or 2 (not changed, changed)"
            )));
    }
    let size = network.mask.size.unwrap_or(PUBLISHED_SIZE);
    if size != side {
        x = resized(&mut b, &x, side, size);
    }
    let change = b.op("Sigmoid", "mask.probability", &[&x], vec![]);
    let shape = [
        Dim::Fixed(1),
        Dim::Fixed(1),
        Dim::Fixed(size),
        Dim::Fixed(size),
    ];
    b.output("change", &change, &shape);
    Ok(b.finish())
}

/// Side of the published mask.
const PUBLISHED_SIZE: usize = 256;

/// The stored layers by their numbers, each of a known form.
fn layers(network: &Network) -> Result<Vec<(usize, Layer<'_>)>> {
    let mut parts: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    let mut unknown = Vec::new();
    for key in network.layers().keys_of(PREFIX) {
        match key[PREFIX.len()..].split_once('.') {
            Some((number, part)) if let Ok(number) = number.parse() => {
                parts.entry(number).or_default().push(part);
            }
            _ => unknown.push(key),
        }
    }
    let mut layers = Vec::new();
    for (&number, parts) in &parts {
        let key = format!("{PREFIX}{number}");
        let known = |names: &[&str]| parts.iter().all(|part| names.contains(part));
        let weight = network.layers().get(&format!("{key}.weight"));
        layers.push(match weight {
            Ok(weight) if known(&["weight", "bias"]) && odd(weight) => {
                (number, Layer::Convolution(weight))
            }
            Ok(weight) if known(&["weight", "bias"]) && even(weight) => {
                (number, Layer::Transposed(weight))
            }
            Ok(weight) if weight.shape().len() == 1 && parts.contains(&"running_var") => {
                (number, Layer::Norm(weight))
            }
            _ => {
                let own = format!("{key}.");
                unknown.extend(
                    network
                        .layers()
                        .keys_of(PREFIX)
                        .filter(|key| key.starts_with(&own)),
                );
                continue;
            }
        });
    }
    if !unknown.is_empty() || matches!(layers.first(), None | Some((_, Layer::Norm(_)))) {
        let checkpoint = &network.layers().paths().checkpoint;
        let named = if unknown.is_empty() {
            network.layers().keys_of(PREFIX).take(4).collect()
        } else {
            unknown
        };
        return Err(Error::MaskForm {
            path: checkpoint.clone(),
            keys: named.join("`, `"),
        });
    }
    Ok(layers)
}

fn odd(weight: &Tensor) -> bool {
    matches!(*weight.shape(), [_, _, h, w] if h == w && h % 2 == 1)
}

fn even(weight: &Tensor) -> bool {
    matches!(*weight.shape(), [_, _, h, w] if h == w && (h == 2 || h == 4))
}

fn kernel(weight: &Tensor) -> Result<usize> {
    weight
        .shape()
        .last()
        .copied()
        .ok_or_else(|| weight.fault("has no dimensions"))
}

fn whole(weight: &Tensor) -> Result<Matrix> {
    let (rows, width) = (weight.shape()[0], weight.shape()[1..].iter().product());
    Matrix::of(weight, rows, width, "")
}

/// The channels that the first layer takes: those of one date or of both.
fn channels_in(first: &Layer<'_>, width: usize) -> Result<usize> {
    let (weight, found) = match first {
        Layer::Convolution(weight) => (weight, weight.shape()[1]),
        Layer::Transposed(weight) => (weight, weight.shape()[0]),
        Layer::Norm(weight) => (weight, 0),
    };
    if found == width || found == 2 * width {
        return Ok(found);
    }
    Err(weight.fault(format!(
        "takes {found} channels where the difference module gives {width} for each date"
    )))
}

/// Checks the input channels, on axis `axis`, and returns the output channels.
fn fits(weight: &Tensor, axis: usize, channels: usize) -> Result<usize> {
    let shape = weight.shape();
    if shape[axis] == channels {
        return Ok(shape[1 - axis]);
    }
    let mut expected = shape.to_vec();
    expected[axis] = channels;
    Err(weight.shape_fault(&expected, "the channels of the layer before"))
}

fn bias(network: &Network, key: &str, channels: usize) -> Result<Option<Matrix>> {
    let key = format!("{key}.bias");
    if !network.layers().has(&key) {
        return Ok(None);
    }
    network.vector(&key, channels).map(Some)
}

/// Batch normalisation, its statistics folded into a scale and a shift.
fn norm(
    network: &Network,
    b: &mut GraphBuilder,
    name: &str,
    key: &str,
    x: &str,
    channels: usize,
) -> Result<String> {
    let values = |part: &str| {
        network
            .vector(&format!("{key}.{part}"), channels)?
            .read_all()
    };
    let (weight, bias) = (values("weight")?, values("bias")?);
    let (mean, variance) = (values("running_mean")?, values("running_var")?);
    let scale: Vec<f32> = weight
        .iter()
        .zip(&variance)
        .map(|(&weight, &variance)| {
            (f64::from(weight) / (f64::from(variance.max(0.0)) + NORM_EPSILON).sqrt()) as f32
        })
        .collect();
    let shift = (0..channels)
        .map(|c| bias[c] - mean[c] * scale[c])
        .collect();
    let shape = [1, channels, 1, 1];
    let scale = b.table(&format!("{name}.scale"), Matrix::values(scale, 1), &shape);
    let shift = b.table(&format!("{name}.shift"), Matrix::values(shift, 1), &shape);
    let scaled = b.op("Mul", &format!("{name}.scaled"), &[x, &scale], vec![]);
    Ok(b.op("Add", name, &[&scaled, &shift], vec![]))
}

/// Bilinear resizing as PyTorch's `interpolate(align_corners=False)`, in two
/// products with one table, since engines differ in what they take for `Resize`.
fn resized(b: &mut GraphBuilder, x: &str, from: usize, to: usize) -> String {
    let mut table = vec![0.0f32; to * from];
    for (i, row) in table.chunks_exact_mut(from).enumerate() {
        let at = ((i as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
        let (low, part) = (at as usize, at.fract());
        let high = (low + 1).min(from - 1);
        row[low] += (1.0 - part) as f32;
        row[high] += part as f32;
    }
    let table = b.table(
        "mask.resize",
        Matrix::values(table, from),
        &[1, 1, to, from],
    );
    let rows = b.op("MatMul", "mask.resize.rows", &[&table, x], vec![]);
    let turned = b.transpose("mask.resize.turned", &rows, &[0, 1, 3, 2]);
    let both = b.op("MatMul", "mask.resize.columns", &[&table, &turned], vec![]);
    b.transpose("mask.resized", &both, &[0, 1, 3, 2])
}
