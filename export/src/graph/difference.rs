//! The difference module (CSRM): what the second date has that the first has not.

use deltavlm_bundle::{Precision, Target};

use super::{Builder, Dim, Keep, Segment};
use crate::Result;
use crate::matrix::Matrix;
use crate::model::Network;

/// `before`, `after` `[1,T,Dv]` to `difference` `[1,2T,Dv]`. Both dates go through
/// the shared weights at once, one below the other.
///
/// # Errors
/// When a tensor is missing or has another shape.
pub fn difference(net: &Network, precision: Precision, target: Target) -> Result<Segment> {
    let (width, tokens) = (net.model.vision.width, net.model.vision.tokens);
    let mut b = Builder::new("difference", precision, target);
    let features = [Dim::Fixed(1), Dim::Fixed(tokens), Dim::Fixed(width)];
    let before = b.input("before", &features);
    let after = b.input("after", &features);

    let d = b.op("Sub", "difference.subtract", &[&after, &before], vec![]);
    let dates = b.concat("difference.dates", &[&before, &after], 1);
    let weight = Matrix::stack([
        net.matrix("context1.weight", width, width)?,
        net.matrix("gate1.weight", width, width)?,
    ]);
    let of_d = b.linear("difference.context1_gate1", &d, weight, None, Keep::Higher);
    let of_d = b.concat("difference.context1_gate1.twice", &[&of_d, &of_d], 1);
    let weight = Matrix::stack([
        net.matrix("context2.weight", width, width)?,
        net.matrix("gate2.weight", width, width)?,
    ]);
    let bias = Matrix::stack([
        net.vector("context2.bias", width)?,
        net.vector("gate2.bias", width)?,
    ]);
    let of_dates = b.linear(
        "difference.context2_gate2",
        &dates,
        weight,
        Some(bias),
        Keep::Higher,
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
    let weight = net.matrix("context3.weight", width, 3 * width)?;
    let out = b.linear(
        "difference.context3",
        &all,
        weight,
        Some(net.vector("context3.bias", width)?),
        Keep::Higher,
    );
    b.output(
        "difference",
        &out,
        &[Dim::Fixed(1), Dim::Fixed(2 * tokens), Dim::Fixed(width)],
    );
    Ok(b.finish())
}
