//! Operators on pictures `[1,C,H,W]` that no single ONNX node of every engine covers:
//! group normalisation, SiLU, reflect padding, window partition, bilinear resizing.

use super::GraphBuilder;
use crate::matrix::Matrix;
use crate::onnx::Attribute;

/// PyTorch's default for `GroupNorm`.
const GROUP_NORM_EPSILON: f32 = 1e-5;

impl GraphBuilder {
    /// Group normalisation of `[1,C,H,W]`, as `InstanceNormalization` of the groups
    /// followed by a scale and a shift for each channel: the form every engine has.
    pub fn group_norm(
        &mut self,
        name: &str,
        x: &str,
        [weight, bias]: [Matrix; 2],
        groups: usize,
        [height, width]: [usize; 2],
    ) -> String {
        let channels = weight.size();
        let flat = self.reshape(&format!("{name}.groups"), x, &[1, groups as i64, -1]);
        let mut same = |part: &str, value: f32| {
            let values = Matrix::values(vec![value; groups], 1);
            self.table(&format!("{name}.{part}"), values, &[groups])
        };
        let (one, zero) = (same("unit_scale", 1.0), same("zero_shift", 0.0));
        let normal = self.op(
            "InstanceNormalization",
            &format!("{name}.normal"),
            &[&flat, &one, &zero],
            vec![Attribute::float("epsilon", GROUP_NORM_EPSILON)],
        );
        let shape = [1, channels as i64, height as i64, width as i64];
        let x = self.reshape(&format!("{name}.channels"), &normal, &shape);
        let dims = [1, channels, 1, 1];
        let scale = self.table(&format!("{name}.weight"), weight, &dims);
        let shift = self.table(&format!("{name}.bias"), bias, &dims);
        let scaled = self.op("Mul", &format!("{name}.scaled"), &[&x, &scale], vec![]);
        self.op("Add", name, &[&scaled, &shift], vec![])
    }

    /// `x * sigmoid(x)`.
    pub fn silu(&mut self, name: &str, x: &str) -> String {
        let gate = self.op("Sigmoid", &format!("{name}.gate"), &[x], vec![]);
        self.op("Mul", name, &[x, &gate], vec![])
    }

    /// Reflect padding of the last two axes of a four-dimensional `x`, edges not
    /// repeated, by gathering rows and columns.
    pub fn reflect_pad(
        &mut self,
        name: &str,
        x: &str,
        [height, width]: [usize; 2],
        padding: usize,
    ) -> String {
        let mut x = x.to_owned();
        for (part, axis, size) in [("rows", 2, height), ("columns", 3, width)] {
            let indices = reflected(size, padding);
            let indices = self.ints(&indices);
            x = self.op(
                "Gather",
                &format!("{name}.{part}"),
                &[&x, &indices],
                vec![Attribute::int("axis", axis)],
            );
        }
        x
    }

    /// `[1,H,W,C]` to windows `[N,side*side,C]`, zeros added at the bottom and right
    /// where `side` does not divide the picture.
    pub fn windows(
        &mut self,
        name: &str,
        x: &str,
        [height, width, channels]: [usize; 3],
        side: usize,
    ) -> String {
        let [tall, wide] = padded([height, width], side);
        let mut x = x.to_owned();
        if [tall, wide] != [height, width] {
            let (below, right) = ((tall - height) as i64, (wide - width) as i64);
            let pads = self.ints(&[0, 0, 0, 0, 0, below, right, 0]);
            let zero = self.scalar("zero", 0.0);
            x = self.op(
                "Pad",
                &format!("{name}.padded"),
                &[&x, &pads, &zero],
                vec![Attribute::text("mode", "constant")],
            );
        }
        let (s, c) = (side as i64, channels as i64);
        let grid = [(tall / side) as i64, s, (wide / side) as i64, s, c];
        let x = self.reshape(&format!("{name}.grid"), &x, &grid);
        let x = self.transpose(&format!("{name}.order"), &x, &[0, 2, 1, 3, 4]);
        self.reshape(name, &x, &[-1, s * s, c])
    }

    /// The inverse of [`GraphBuilder::windows`].
    pub fn unwindowed(
        &mut self,
        name: &str,
        x: &str,
        [height, width, channels]: [usize; 3],
        side: usize,
    ) -> String {
        let [tall, wide] = padded([height, width], side);
        let (s, c) = (side as i64, channels as i64);
        let grid = [(tall / side) as i64, (wide / side) as i64, s, s, c];
        let x = self.reshape(&format!("{name}.grid"), x, &grid);
        let x = self.transpose(&format!("{name}.order"), &x, &[0, 2, 1, 3, 4]);
        let shape = [1, tall as i64, wide as i64, c];
        let mut x = self.reshape(name, &x, &shape);
        for (part, axis, size, whole) in [("rows", 1, height, tall), ("columns", 2, width, wide)] {
            if size != whole {
                x = self.slice(&format!("{name}.{part}"), &x, axis, 0, size as i64);
            }
        }
        x
    }

    /// Bilinear resizing of `[1,1,from,from]` as PyTorch's
    /// `interpolate(align_corners=False)`, in two products with one table, since
    /// engines differ in what they take for `Resize`.
    pub fn resize_bilinear(&mut self, name: &str, x: &str, from: usize, to: usize) -> String {
        let mut table = vec![0.0f32; to * from];
        for (i, row) in table.chunks_exact_mut(from).enumerate() {
            let at = ((i as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
            let (low, part) = (at as usize, at.fract());
            let high = (low + 1).min(from - 1);
            row[low] += (1.0 - part) as f32;
            row[high] += part as f32;
        }
        let weights = Matrix::values(table, from);
        let table = self.table(&format!("{name}.weights"), weights, &[1, 1, to, from]);
        let rows = self.op("MatMul", &format!("{name}.rows"), &[&table, x], vec![]);
        let turned = self.transpose(&format!("{name}.transposed"), &rows, &[0, 1, 3, 2]);
        let both = self.op(
            "MatMul",
            &format!("{name}.columns"),
            &[&table, &turned],
            vec![],
        );
        self.transpose(name, &both, &[0, 1, 3, 2])
    }
}

/// Indices of a reflected axis: `2 1 | 0 1 2 3 | 2 1` for 4 and a padding of 2.
fn reflected(size: usize, padding: usize) -> Vec<i64> {
    let (size, padding) = (size as i64, padding as i64);
    assert!(padding < size, "reflect padding needs a larger picture");
    (-padding..size + padding)
        .map(|at| at.abs())
        .map(|at| if at < size { at } else { 2 * (size - 1) - at })
        .collect()
}

fn padded(size: [usize; 2], side: usize) -> [usize; 2] {
    size.map(|size| size.next_multiple_of(side))
}

#[cfg(test)]
mod tests {
    use super::reflected;

    #[test]
    fn reflection_does_not_repeat_the_edge() {
        assert_eq!(reflected(4, 2), [2, 1, 0, 1, 2, 3, 2, 1]);
        assert_eq!(reflected(2, 1), [1, 0, 1, 0]);
    }
}
