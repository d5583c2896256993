//! Nodes that move values without computing: shapes, slices, joins.

use super::GraphBuilder;
use crate::onnx::Attribute;

impl GraphBuilder {
    /// A new shape; 0 keeps a dimension, -1 takes what is left.
    pub fn reshape(&mut self, name: &str, x: &str, shape: &[i64]) -> String {
        let shape = self.ints(shape);
        self.op("Reshape", name, &[x, &shape], vec![])
    }

    /// Reorders dimensions.
    pub fn transpose(&mut self, name: &str, x: &str, order: &[i64]) -> String {
        self.op(
            "Transpose",
            name,
            &[x],
            vec![Attribute::ints("perm", order)],
        )
    }

    /// Elements `from..to` along one axis; negative numbers count from the end.
    pub fn slice(&mut self, name: &str, x: &str, axis: i64, from: i64, to: i64) -> String {
        let (from, to, axis) = (self.ints(&[from]), self.ints(&[to]), self.ints(&[axis]));
        self.op("Slice", name, &[x, &from, &to, &axis], vec![])
    }

    /// Joins along an axis.
    pub fn concat(&mut self, name: &str, parts: &[&str], axis: i64) -> String {
        self.op("Concat", name, parts, vec![Attribute::int("axis", axis)])
    }

    /// Cuts the last axis into parts, each named `<name>.<part>`.
    pub fn split<const N: usize>(
        &mut self,
        name: &str,
        x: &str,
        parts: [(&str, usize); N],
    ) -> [String; N] {
        let sizes = self.ints(&parts.map(|(_, size)| size as i64));
        let outputs = parts.map(|(part, _)| format!("{name}.{part}"));
        let named: Vec<&str> = outputs.iter().map(String::as_str).collect();
        self.named(
            "Split",
            name,
            &[x, &sizes],
            &named,
            vec![Attribute::int("axis", -1)],
        );
        outputs
    }
}
