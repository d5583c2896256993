//! The difference module (CSRM): what the second date has that the first has not.

use deltavlm_bundle::{Precision, Target};

use super::{Dim, GraphBuilder, QuantPolicy, SegmentGraph};
use crate::Result;
use crate::matrix::Matrix;
use crate::network::Network;

/// `before`, `after` `[1,T,Dv]` to `difference` `[1,2T,Dv]`. Both dates go through
/// the shared weights at once, one below the other.
///
/// # Errors
/// When a tensor is missing or has another shape.
pub fn difference(network: &Network, precision: Precision, target: Target) -> Result<SegmentGraph> {
    let (width, tokens) = (network.model.vision.width, network.model.vision.tokens);
    let mut b = GraphBuilder::new("difference", precision, target);
    let features = [Dim::Fixed(1), Dim::Fixed(tokens), Dim::Fixed(width)];
    let before = b.input("before", &features);
    let after = b.input("after", &features);

    let d = b.op("Sub", "difference.subtract", &[&after, &before], vec![]);
    let dates = b.concat("difference.dates", &[&before, &after], 1);
    let weight = Matrix::stack([
        network.matrix("context1.weight", width, width)?,
        network.matrix("gate1.weight", width, width)?,
    ]);
    let of_d = b.linear(
        "difference.context1_gate1",
        &d,
        weight,
        None,
        QuantPolicy::AtLeast8,
    );
    let of_d = b.concat("difference.context1_gate1.twice", &[&of_d, &of_d], 1);
    let weight = Matrix::stack([
        network.matrix("context2.weight", width, width)?,
        network.matrix("gate2.weight", width, width)?,
    ]);
    let bias = Matrix::stack([
        network.vector("context2.bias", width)?,
        network.vector("gate2.bias", width)?,
    ]);
    let of_dates = b.linear(
        "difference.context2_gate2",
        &dates,
        weight,
        Some(bias),
        QuantPolicy::AtLeast8,
    );
    let sum = b.op("Add", "difference.sum", &[&of_d, &of_dates], vec![]);
    let [context, gate] = b.split(
        "difference.split",
        &sum,
        [("context", width), ("gate", width)],
    );
    let context = b.op("Tanh", "difference.tanh", &[&context], vec![]);
    let gate = b.op("Sigmoid", "difference.sigmoid", &[&gate], vec![]);
    let chosen = b.op("Mul", "difference.gated", &[&gate, &context], vec![]);
    let twice = b.concat("difference.subtract.twice", &[&d, &d], 1);
    let all = b.concat("difference.channels", &[&dates, &twice, &chosen], 2);
    let weight = network.matrix("context3.weight", width, 3 * width)?;
    let out = b.linear(
        "difference.context3",
        &all,
        weight,
        Some(network.vector("context3.bias", width)?),
        QuantPolicy::AtLeast8,
    );
    b.output(
        "difference",
        &out,
        &[Dim::Fixed(1), Dim::Fixed(2 * tokens), Dim::Fixed(width)],
    );
    Ok(b.finish())
}
