//! The optional mask branch, as published: the change probability of each pixel.
//!
//! The features of both dates after `ln_vision`, the later minus the earlier, are
//! unified by a bank of kernels, then upsampled in stages. Widths, the number of
//! stages and whether they have window attention follow from the tensors, so the
//! full and the light variant pass through the same code.

use std::collections::BTreeSet;

use deltavlm_bundle::{Precision, Target};

use super::attention::{attend, split_heads};
use super::{Dim, GraphBuilder, QuantPolicy, SegmentGraph};
use crate::matrix::Matrix;
use crate::network::Network;
use crate::onnx::Attribute;
use crate::source::Tensor;
use crate::{Error, Result};

const PREFIX: &str = "mask_decoder.";
/// Groups of every group normalisation, fewer where there are fewer channels.
const GROUPS: usize = 8;
/// PyTorch's default for `LayerNorm`.
const LAYER_NORM_EPSILON: f32 = 1e-5;
/// Side of the published mask.
const PUBLISHED_SIZE: usize = 256;

/// Whether the checkpoint has a mask branch.
pub fn has_mask(network: &Network) -> bool {
    network.layers().keys_of(PREFIX).next().is_some()
}

/// `before` and `after` `[1,T,Dv]` to `change` `[1,1,M,M]`.
///
/// # Errors
/// When a tensor of the published layout is missing, does not fit, or when there
/// are tensors that the layout does not have.
pub fn mask(network: &Network, precision: Precision, target: Target) -> Result<SegmentGraph> {
    let vision = &network.model.vision;
    let (width, tokens) = (vision.width, vision.tokens);
    let side = vision.image_size / vision.patch_size;
    let mut b = GraphBuilder::new("mask", precision, target);
    let shape = [Dim::Fixed(1), Dim::Fixed(tokens), Dim::Fixed(width)];
    let before = b.input("before", &shape);
    let after = b.input("after", &shape);
    let change = b.op("Sub", "mask.subtract", &[&after, &before], vec![]);
    let cells = b.slice("mask.patches", &change, 1, 1, tokens as i64);

    let mut branch = MaskBranch {
        network,
        b,
        used: BTreeSet::new(),
        side,
    };
    let mut x = branch.unify(&cells, width)?;
    let mut channels = branch.tensor("lfu.basis")?.shape()[0];
    x = branch.convolution("proj.0", &x, [channels; 2], true)?;
    x = branch.normalise("proj.1", &x, channels)?;
    x = branch.residual("proj.3", &x, channels)?;
    let stages = network.layers().count(&format!("{PREFIX}stages."));
    for stage in 0..stages {
        (x, channels) = branch.stage(stage, &x, channels)?;
    }
    x = branch.convolution("head.0", &x, [channels; 2], true)?;
    x = branch.normalise("head.1", &x, channels)?;
    x = branch.convolution("head.3", &x, [1, channels], true)?;
    let MaskBranch {
        mut b, used, side, ..
    } = branch;
    refuse_unknown(network, &used)?;

    let size = network.mask.size.unwrap_or(PUBLISHED_SIZE);
    if size != side {
        x = b.resize_bilinear("mask.resized", &x, side, size);
    }
    let change = b.op("Sigmoid", "mask.probability", &[&x], vec![]);
    let shape = [1, 1, size, size].map(Dim::Fixed);
    b.output("change", &change, &shape);
    Ok(b.finish())
}

/// The graph in the making, with the side of the square grid that `x` has by now.
struct MaskBranch<'a> {
    network: &'a Network,
    b: GraphBuilder,
    /// Keys that a layer took.
    used: BTreeSet<String>,
    side: usize,
}

impl<'a> MaskBranch<'a> {
    fn tensor(&mut self, part: &str) -> Result<&'a Tensor> {
        let key = format!("{PREFIX}{part}");
        let tensor = self.network.layers().get(&key)?;
        self.used.insert(key);
        Ok(tensor)
    }

    fn vector(&mut self, part: &str, len: usize) -> Result<Matrix> {
        self.tensor(part)?;
        self.network.vector(&format!("{PREFIX}{part}"), len)
    }

    fn has(&self, part: &str) -> bool {
        self.network.layers().has(&format!("{PREFIX}{part}"))
    }

    /// Convolves every channel with every basis kernel, reflect padding outside,
    /// divides by the number of pixels under the kernel, and turns the responses
    /// into weights by a softmax: `[1,T-1,Dv]` to `[1,K,side,side]`.
    ///
    /// The published code views `(channel, basis)` as `(basis, channel)` before the
    /// softmax, and trained weights depend on it. With `G = channels / K`, that view
    /// puts the channels `m, G + m, 2G + m, ...` side by side, so they are computed
    /// `K` at a time, and the responses of all channels never lie in memory at once.
    fn unify(&mut self, cells: &str, channels: usize) -> Result<String> {
        let basis = self.tensor("lfu.basis")?;
        let [outputs, 1, kernel, across] = *basis.shape() else {
            return Err(basis.shape_fault(&[128, 1, 5, 5], "the published mask branch"));
        };
        let (side, padding) = (self.side, kernel / 2);
        if kernel != across || kernel % 2 == 0 || padding >= side {
            let why = "square kernels of odd size that a reflected picture can hold";
            return Err(basis.shape_fault(&[outputs, 1, 5, 5], why));
        }
        let groups = if channels.is_multiple_of(outputs) {
            channels / outputs
        } else {
            1
        };
        let rows = channels / groups;
        let b = &mut self.b;
        let dims = basis.shape().to_vec();
        let kernels = Matrix::of(basis, outputs, kernel * kernel, "")?;
        let kernels = b.kernel("mask.lfu.basis", kernels, &dims);
        let counts = Matrix::values(pixels_under(side, padding), 1);
        let counts = b.table("mask.lfu.counts", counts, &[1, 1, side, side]);

        let grid = b.transpose("mask.lfu.channels", cells, &[0, 2, 1]);
        let shape = [rows as i64, groups as i64, side as i64, side as i64];
        let grid = b.reshape("mask.lfu.grid", &grid, &shape);
        let grid = b.reflect_pad("mask.lfu.padded", &grid, [side; 2], padding);
        let axis = b.ints(&[1]);
        let mut sum: Option<String> = None;
        for group in 0..groups {
            let name = format!("mask.lfu.{group}");
            let from = group as i64;
            let part = if groups == 1 {
                grid.clone()
            } else {
                b.slice(&format!("{name}.part"), &grid, 1, from, from + 1)
            };
            let found = b.convolve(
                "Conv",
                &format!("{name}.responses"),
                &part,
                &kernels,
                &dims,
                None,
                (1, 0),
            );
            let found = b.op("Div", &format!("{name}.mean"), &[&found, &counts], vec![]);
            let view = [outputs as i64, rows as i64, -1];
            let found = b.reshape(&format!("{name}.view"), &found, &view);
            let weights = b.op(
                "Softmax",
                &format!("{name}.softmax"),
                &[&found],
                vec![Attribute::int("axis", 0)],
            );
            let mean = b.op(
                "ReduceMean",
                &format!("{name}.average"),
                &[&weights, &axis],
                vec![Attribute::int("keepdims", 1)],
            );
            sum = Some(match sum {
                Some(sum) => b.op("Add", &format!("{name}.sum"), &[&sum, &mean], vec![]),
                None => mean,
            });
        }
        let mut x = sum.expect("there is one group at least");
        if groups > 1 {
            let share = b.scalar("mask.lfu.share", 1.0 / groups as f32);
            x = b.op("Mul", "mask.lfu.average", &[&x, &share], vec![]);
        }
        let shape = [1, outputs as i64, side as i64, side as i64];
        Ok(b.reshape("mask.lfu", &x, &shape))
    }

    /// A convolution that keeps the grid: `[outputs, inputs]`, square, odd kernels.
    /// Biased ones pad with zeros, the others by reflection, as published.
    fn convolution(
        &mut self,
        part: &str,
        x: &str,
        [outputs, inputs]: [usize; 2],
        biased: bool,
    ) -> Result<String> {
        let weight = self.tensor(&format!("{part}.weight"))?;
        let kernel = weight.shape().last().copied().unwrap_or(0);
        if kernel % 2 == 0 || *weight.shape() != [outputs, inputs, kernel, kernel] {
            return Err(weight.shape_fault(&[outputs, inputs, 3, 3], CHANNELS));
        }
        let name = format!("mask.{part}");
        let (mut x, mut padding) = (x.to_owned(), kernel / 2);
        let mut bias = None;
        if biased {
            bias = Some(self.vector(&format!("{part}.bias"), outputs)?);
        } else {
            if padding >= self.side {
                return Err(weight.fault("has kernels larger than the picture"));
            }
            let padded = format!("{name}.padded");
            x = self.b.reflect_pad(&padded, &x, [self.side; 2], padding);
            padding = 0;
        }
        let dims = weight.shape().to_vec();
        let weight = Matrix::of(weight, outputs, inputs * kernel * kernel, "")?;
        Ok(self
            .b
            .convolution("Conv", &name, &x, weight, &dims, bias, (1, padding)))
    }

    /// Group normalisation and SiLU.
    fn normalise(&mut self, part: &str, x: &str, channels: usize) -> Result<String> {
        let groups = GROUPS.min(channels);
        let weight = self.tensor(&format!("{part}.weight"))?;
        if !channels.is_multiple_of(groups) {
            let problem = format!("normalises {channels} channels, which {groups} does not divide");
            return Err(weight.fault(problem));
        }
        let vectors = [
            self.vector(&format!("{part}.weight"), channels)?,
            self.vector(&format!("{part}.bias"), channels)?,
        ];
        let name = format!("mask.{part}");
        let x = self.b.group_norm(&name, x, vectors, groups, [self.side; 2]);
        Ok(self.b.silu(&format!("{name}.silu"), &x))
    }

    fn residual(&mut self, part: &str, x: &str, channels: usize) -> Result<String> {
        let mut inner = x.to_owned();
        for (norm, convolution) in [(0, 2), (3, 5)] {
            inner = self.normalise(&format!("{part}.block.{norm}"), &inner, channels)?;
            let key = format!("{part}.block.{convolution}");
            inner = self.convolution(&key, &inner, [channels; 2], false)?;
        }
        Ok(self
            .b
            .op("Add", &format!("mask.{part}"), &[&inner, x], vec![]))
    }

    /// Doubles the grid; returns the channels that it has then.
    fn stage(&mut self, stage: usize, x: &str, inputs: usize) -> Result<(String, usize)> {
        let part = format!("stages.{stage}");
        let weight = self.tensor(&format!("{part}.up.0.weight"))?;
        let channels = weight.shape().get(1).copied().unwrap_or(0);
        weight.expect(&[inputs, channels, 4, 4], CHANNELS)?;
        let bias = self.vector(&format!("{part}.up.0.bias"), channels)?;
        let dims = weight.shape().to_vec();
        let weight = Matrix::of(weight, inputs, channels * 16, "")?;
        let mut x = self.b.convolution(
            "ConvTranspose",
            &format!("mask.{part}.up"),
            x,
            weight,
            &dims,
            Some(bias),
            (2, 1),
        );
        self.side *= 2;
        x = self.normalise(&format!("{part}.up.1"), &x, channels)?;
        x = self.residual(&format!("{part}.ref"), &x, channels)?;
        if self.has(&format!("{part}.attn.qkv.weight")) {
            x = self.attention(&part, &x, channels)?;
        }
        Ok((x, channels))
    }

    /// Adds attention within windows of the normalised picture.
    fn attention(&mut self, part: &str, x: &str, channels: usize) -> Result<String> {
        let table = self.tensor(&format!("{part}.attn.rpb"))?;
        let [positions, heads] = *table.shape() else {
            return Err(table.shape_fault(&[169, 4], "relative positions by heads"));
        };
        let window = positions.isqrt().div_ceil(2);
        if (2 * window - 1).pow(2) != positions || heads == 0 || !channels.is_multiple_of(heads) {
            return Err(table.shape_fault(&[169, 4], "relative positions by heads"));
        }
        // A buffer that follows from the window's side.
        self.used.insert(format!("{PREFIX}{part}.attn.rpi"));
        let bias = relative_bias(&table.values()?, window, heads);
        let tokens = window * window;
        let norm = [
            self.vector(&format!("{part}.norm.weight"), channels)?,
            self.vector(&format!("{part}.norm.bias"), channels)?,
        ];
        let [qkv, projection] = [("qkv", 3 * channels), ("proj", channels)].map(|(layer, rows)| {
            let key = format!("{part}.attn.{layer}");
            let bias = self.vector(&format!("{key}.bias"), rows)?;
            let weight = self.tensor(&format!("{key}.weight"))?;
            Ok::<_, Error>((Matrix::of(weight, rows, channels, CHANNELS)?, bias))
        });
        let ((qkv, qkv_bias), (projection, projection_bias)) = (qkv?, projection?);

        let (name, side) = (format!("mask.{part}.attn"), self.side);
        let shape = [side, side, channels];
        let b = &mut self.b;
        let last = b.transpose(&format!("{name}.channels_last"), x, &[0, 2, 3, 1]);
        let [weight, shift] = norm;
        let normal = b.layer_norm(
            &format!("mask.{part}.norm"),
            &last,
            weight,
            shift,
            LAYER_NORM_EPSILON,
        );
        let cells = b.windows(&format!("{name}.windows"), &normal, shape, window);
        let policy = QuantPolicy::AtLeast8;
        let all = b.linear(&format!("{name}.qkv"), &cells, qkv, Some(qkv_bias), policy);
        let parts = [("q", channels), ("k", channels), ("v", channels)];
        let [q, k, v] = b
            .split(&format!("{name}.split"), &all, parts)
            .map(|part| split_heads(b, &part, &part, heads, channels / heads));
        let bias = b.table(
            &format!("{name}.bias"),
            Matrix::values(bias, tokens),
            &[1, heads, tokens, tokens],
        );
        let width = channels / heads;
        let scale = format!("attention_scale.{width}");
        let seen = attend(b, &name, &scale, [&q, &k, &v], Some(&bias), width);
        let seen = b.linear(
            &format!("{name}.proj"),
            &seen,
            projection,
            Some(projection_bias),
            policy,
        );
        let seen = b.unwindowed(&format!("{name}.joined_windows"), &seen, shape, window);
        let first = b.transpose(&format!("{name}.channels_first"), &seen, &[0, 3, 1, 2]);
        Ok(b.op("Add", &format!("mask.{part}"), &[x, &first], vec![]))
    }
}

const CHANNELS: &str = "the channels of the layer before";

/// How many pixels of a square picture lie under a kernel at each place.
fn pixels_under(side: usize, padding: usize) -> Vec<f32> {
    let along: Vec<usize> = (0..side)
        .map(|at| (at + padding).min(side - 1) - at.saturating_sub(padding) + 1)
        .collect();
    along
        .iter()
        .flat_map(|rows| along.iter().map(move |columns| (rows * columns) as f32))
        .collect()
}

/// The bias of each pair of places of a window, `[heads, side^2, side^2]`, from a
/// table of relative positions `[(2 side - 1)^2, heads]`.
fn relative_bias(table: &[f32], side: usize, heads: usize) -> Vec<f32> {
    let places = side * side;
    let mut bias = Vec::with_capacity(heads * places * places);
    for head in 0..heads {
        for from in 0..places {
            for to in 0..places {
                let row = from / side + side - 1 - to / side;
                let column = from % side + side - 1 - to % side;
                bias.push(table[(row * (2 * side - 1) + column) * heads + head]);
            }
        }
    }
    bias
}

fn refuse_unknown(network: &Network, used: &BTreeSet<String>) -> Result<()> {
    let unknown: Vec<&str> = network
        .layers()
        .keys_of(PREFIX)
        .filter(|key| !used.contains(*key))
        .take(4)
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Error::MaskForm {
        path: network.layers().paths().checkpoint.clone(),
        keys: unknown.join("`, `"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_at_the_border_see_fewer_pixels() {
        let counts = pixels_under(6, 2);
        assert_eq!(counts[0], 9.0);
        assert_eq!(counts[2 * 6 + 2], 25.0);
        assert_eq!(counts[6 + 3], 20.0);
    }

    #[test]
    fn relative_positions_follow_the_offset_of_the_places() {
        let table: Vec<f32> = (0..9).map(|value| value as f32).collect();
        // Two by two places: the offset (0,0) is entry 4, (1,1) entry 8, (-1,-1) entry 0.
        let bias = relative_bias(&table, 2, 1);
        assert_eq!((bias[0], bias[5]), (4.0, 4.0));
        assert_eq!((bias[3 * 4], bias[3]), (8.0, 0.0));
    }
}
